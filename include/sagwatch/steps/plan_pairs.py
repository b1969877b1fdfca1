"""Bring the wanted pairs of a track up to date."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.network import NetworkPlan, plan_network
from sagwatch.domain.site import Site, Track
from sagwatch.steps.settle_acquisitions import settle_acquisitions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Planned:
    """The network as it is wanted now."""

    pairs: int
    new: tuple[str, ...]  # MintPy names, YYYYMMDD_YYYYMMDD
    disconnected: tuple[tuple[date, ...], ...]


def plan_pairs(site: Site, track: Track, ledger: Ledger, as_of: datetime) -> Planned:
    """Plan the network over all complete acquisitions; the same acquisitions always give the same pairs."""
    complete = [a for a in ledger.acquisitions.known(track) if not a.missing_bursts]
    plan = plan_network(complete, site.network)
    change = ledger.orders.record_plan(track.id, plan.pairs, as_of)
    for pair in change.added:
        log.info("%s %s wanted, %s", track.id, pair.date12, pair.why)
    for name in change.dropped:
        log.info(
            "%s %s no longer wanted: an acquisition that came late lies between its dates", track.id, name
        )
    _report(site, track, plan, ledger, as_of)
    settle_acquisitions(ledger, site, track, as_of)
    log.info(
        "%s: %d pairs over %d acquisitions, %d new",
        track.id,
        len(plan.pairs),
        len(complete),
        len(change.added),
    )
    return Planned(len(plan.pairs), tuple(p.date12 for p in change.added), plan.disconnected)


def _report(site: Site, track: Track, plan: NetworkPlan, ledger: Ledger, as_of: datetime) -> None:
    for text in plan.explanations:
        log.warning("%s: %s", track.id, text)
    for group in plan.disconnected if site.network.only is None else ():
        ledger.operations.record(
            kind="disconnected",
            text=f"{track.id}: {len(group)} acquisitions from {group[0]} to {group[-1]} hang together with no "
            "others; displacement across the gap is not measured",
            dedupe_key=f"disconnected:{track.id}:{group[0]}",
            as_of=as_of,
            severity="warning",
            site=site.name,
            track_id=track.id,
            details={"dates": [str(day) for day in group]},
        )
