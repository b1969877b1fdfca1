"""Decide by coherence which interferograms belong into the stack, over the whole set and anew each time."""

from __future__ import annotations

import logging

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.coherence import stand
from sagwatch.domain.site import Site, Track

log = logging.getLogger(__name__)


def sort_interferograms(site: Site, track: Track, ledger: Ledger) -> list[str]:
    """Bring what the coherence rule says about a track up to date; return the ids of those it changed.

    One that was kept because it held the network together is excluded as soon as a better one does. Those without
    phase at the reference point are none of its business.
    """
    measured = {one.id: one for one in ledger.network.measured(track.id)}
    standings = stand(measured.values(), site.coherence)
    changed = ledger.network.note_standings(track.id, standings)
    for name in changed:
        one, now = measured[name], standings[name]
        log.info(
            "%s: interferogram %s_%s %s: %s",
            track.id,
            one.reference,
            one.secondary,
            "belongs into the stack" if now.kept else "is left out",
            now.reason or "its coherence suffices",
        )
    return changed
