"""Explain every acquisition: used, rejected, unavailable, or pending until a stated time."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import date, datetime, timedelta

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.acquisition import AcquisitionState
from sagwatch.domain.settling import Settled, settle
from sagwatch.domain.site import Site, Track

log = logging.getLogger(__name__)

#: A found acquisition whose pairs nobody has planned a day later is a fault of ours.
PLANNED_WITHIN = timedelta(days=1)


def settle_acquisitions(
    ledger: Ledger, site: Site, track: Track, as_of: datetime, just_found: Collection[date] = ()
) -> None:
    """Bring the state of every acquisition of a track up to date with what became of its pairs.

    Those ``just_found`` have no pairs because none are planned yet.
    """
    facts = ledger.acquisitions.pair_facts(track.id)
    settled: dict[date, Settled] = {}
    for acquisition in ledger.acquisitions.known(track):
        day = acquisition.date
        if day in just_found and not acquisition.missing_bursts:
            settled[day] = Settled(
                AcquisitionState.PENDING, "found, its pairs are planned next", as_of + PLANNED_WITHIN
            )
        else:
            settled[day] = settle(acquisition, facts.get(day, []), site.network, as_of)
    for day in ledger.acquisitions.settle(track.id, settled, as_of):
        now = settled[day]
        level = logging.DEBUG if now.state is AcquisitionState.PENDING else logging.INFO
        log.log(level, "%s %s is %s%s", track.id, day, now.state, f": {now.reason}" if now.reason else "")
