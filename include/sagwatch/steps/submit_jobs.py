"""Order the interferograms that a track lacks, each once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.orders import PairToOrder
from sagwatch.domain.order import JobState, Order, order_parameters
from sagwatch.domain.site import Site, Track
from sagwatch.errors import NoCreditsError, RefusedError
from sagwatch.steps.ports import InsarCloud
from sagwatch.steps.settle_acquisitions import settle_acquisitions

log = logging.getLogger(__name__)

#: Orders in one request; HyP3 takes or refuses a request as a whole.
BATCH = 50


def submit_jobs(site: Site, track: Track, cloud: InsarCloud, ledger: Ledger, as_of: datetime) -> list[str]:
    """Order every wanted pair that has no live job, newest first; return the names of all open jobs.

    An order is committed before HyP3 hears of it. Whatever was written down and not confirmed is looked up by name
    before it is sent again, so a crash or a lost answer never pays twice.

    Raises
    ------
    TryAgainError
        HyP3's answer was lost; the intents stay, and the next call looks for their names.
    StopAndAskError
        HyP3 refuses us; nothing is repeated.
    """
    with ledger.orders.exclusive(track.id):
        doubtful = [job.order for job in ledger.orders.jobs(track.id, [JobState.INTENDED])]
        waiting = _look_up(doubtful, cloud, ledger, doubtful=True)
        fresh = _new_orders(site, track, cloud, ledger, as_of)
        if waiting or fresh:
            affordable = _affordable(site, track, [*waiting, *fresh], cloud, ledger, as_of)
            again = [order for order in affordable if order in waiting]
            ours = ledger.orders.write_down([o for o in affordable if o not in waiting], as_of)
            # A ledger restored from a backup has forgotten orders that HyP3 remembers.
            unknown = _look_up(ours, cloud, ledger, doubtful=False)
            _order(site, track, [*again, *unknown], cloud, ledger, as_of)
    settle_acquisitions(ledger, site, track, as_of)
    names = [job.name for job in ledger.orders.jobs(track.id, [JobState.OPEN])]
    log.info("%s: %d jobs open at HyP3", track.id, len(names))
    return names


def _look_up(orders: Sequence[Order], cloud: InsarCloud, ledger: Ledger, doubtful: bool) -> list[Order]:
    """Record the orders that HyP3 has; return the others."""
    if not orders:
        return []
    found = cloud.find([order.name for order in orders], doubtful)
    ledger.orders.record_taken(found)
    for name in found:
        log.info("%s is at HyP3 already, not ordered again", name)
    return [order for order in orders if order.name not in found]


def _new_orders(site: Site, track: Track, cloud: InsarCloud, ledger: Ledger, as_of: datetime) -> list[Order]:
    """Orders for wanted pairs; a pair without an attempt left is given up.

    After them come pairs whose product was made with restituted orbits, if the site wants these made again.
    """
    granules = {a.date: a.granules for a in ledger.acquisitions.known(track)}
    orders = []
    for pair in ledger.orders.to_order(track.id):
        if pair.attempts >= site.max_attempts:
            _give_up(site, track, pair, ledger, as_of)
            continue
        orders.append(_next_attempt(track, pair, granules, cloud))
    if site.network.reorder_restituted:
        again = ledger.network.to_reorder(track.id, as_of)
        orders += [_next_attempt(track, pair, granules, cloud) for pair in again]
    return orders


def _next_attempt(
    track: Track, pair: PairToOrder, granules: Mapping[date, Sequence[str]], cloud: InsarCloud
) -> Order:
    return Order(
        pair_id=pair.pair_id,
        attempt=pair.attempts + 1,
        job_type=track.processor,
        parameters=order_parameters(track, granules[pair.reference], granules[pair.secondary]),
        credits=cloud.cost(track.processor, track.looks, max(1, len(track.bursts))),
    )


def _give_up(site: Site, track: Track, pair: PairToOrder, ledger: Ledger, as_of: datetime) -> None:
    reason = f"{pair.attempts} attempts, the last: {pair.last_message or 'no reason known'}"
    log.warning("%s %s to %s given up: %s", track.id, pair.reference, pair.secondary, reason)
    ledger.orders.give_up(pair.pair_id, reason, as_of)
    ledger.operations.record(
        kind="pair_given_up",
        text=f"{track.id}: {pair.reference} to {pair.secondary} given up after {reason}",
        dedupe_key=f"pair_given_up:{pair.pair_id}",
        as_of=as_of,
        severity="warning",
        site=site.name,
        track_id=track.id,
    )


def _affordable(
    site: Site, track: Track, orders: Sequence[Order], cloud: InsarCloud, ledger: Ledger, as_of: datetime
) -> list[Order]:
    """The first of the orders that the site's budget and the account's reserve allow; the others wait."""
    month_start = as_of.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    remaining = cloud.remaining_credits()
    ledger.operations.note_credits(remaining, as_of)
    budget = site.credits.per_month - ledger.orders.credits_spent(site.name, month_start)
    purse = budget if remaining is None else min(budget, remaining - site.credits.reserve)
    affordable = []
    for order in orders:
        if order.credits > purse:
            break
        purse -= order.credits
        affordable.append(order)
    if len(affordable) < len(orders):
        left = "unlimited" if remaining is None else f"{remaining:g}"
        _no_credits(
            site,
            track,
            f"{len(orders) - len(affordable)} of {len(orders)} orders wait: the site may spend "
            f"{site.credits.per_month} credits a month and has {budget:g} left, the account has {left} and keeps "
            f"{site.credits.reserve} in reserve",
            ledger,
            as_of,
        )
    return affordable


def _no_credits(site: Site, track: Track, text: str, ledger: Ledger, as_of: datetime) -> None:
    log.warning("%s: %s", track.id, text)
    ledger.operations.record(
        kind="no_credits",
        text=f"{track.id}: {text}. Raise credits.per_month in the site file, or wait for the next month",
        dedupe_key=f"no_credits:{track.id}:{as_of:%Y-%m}",
        as_of=as_of,
        severity="warning",
        site=site.name,
        track_id=track.id,
    )


def _order(
    site: Site, track: Track, orders: Sequence[Order], cloud: InsarCloud, ledger: Ledger, as_of: datetime
) -> None:
    """Send orders that HyP3 certainly does not have, in batches."""
    for start in range(0, len(orders), BATCH):
        batch = orders[start : start + BATCH]
        try:
            _send(batch, cloud, ledger)
        except NoCreditsError as problem:
            ledger.orders.take_back([order.name for order in orders[start:]])
            _no_credits(site, track, str(problem), ledger, as_of)
            return
        except RefusedError as problem:
            log.warning("%s: a request of %d orders was refused: %s", track.id, len(batch), problem)
            _order_one_by_one(track, batch, cloud, ledger, as_of)


def _order_one_by_one(
    track: Track, orders: Sequence[Order], cloud: InsarCloud, ledger: Ledger, as_of: datetime
) -> None:
    """HyP3 refuses a request as a whole; find out which order it minds, and keep the others."""
    for order in orders:
        try:
            _send([order], cloud, ledger)
        except RefusedError as problem:
            log.warning("%s: %s refused: %s", track.id, order.name, problem)
            ledger.orders.record_end(order.name, JobState.REFUSED, as_of, str(problem))


def _send(orders: Sequence[Order], cloud: InsarCloud, ledger: Ledger) -> None:
    jobs = cloud.submit(orders)
    ledger.orders.record_taken({job.name: job for job in jobs})
    for job in jobs:
        log.info("%s ordered, HyP3's id is %s", job.name, job.id)
