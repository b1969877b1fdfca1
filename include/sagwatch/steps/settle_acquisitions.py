"""Explain every acquisition: used, rejected, unavailable, or pending until a stated time."""

from __future__ import annotations

import logging
from datetime import datetime

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.settling import settle
from sagwatch.domain.site import Site, Track

log = logging.getLogger(__name__)


def settle_acquisitions(ledger: Ledger, site: Site, track: Track, as_of: datetime) -> None:
    """Bring the state of every acquisition of a track up to date with what became of its pairs."""
    facts = ledger.acquisitions.pair_facts(track.id)
    settled = {
        acquisition.date: settle(acquisition, facts.get(acquisition.date, []), site.network, as_of)
        for acquisition in ledger.acquisitions.known(track)
    }
    for day in ledger.acquisitions.settle(track.id, settled, as_of):
        now = settled[day]
        log.info("%s %s is %s%s", track.id, day, now.state, f": {now.reason}" if now.reason else "")
