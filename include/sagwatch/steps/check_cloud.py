"""Try the real services with a site's settings, without ordering or changing anything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sagwatch.domain.acquisition import Granule
from sagwatch.domain.order import Order, order_parameters
from sagwatch.domain.site import Site, Track
from sagwatch.steps.ports import Catalogue, InsarCloud

#: Two acquisitions lie in so many days on any track that Sentinel-1 still sees.
LOOK_BACK = timedelta(days=90)


def check_cloud(
    site: Site, track: Track, catalogue: Catalogue, cloud: InsarCloud, as_of: datetime
) -> Iterator[str]:
    """Search the track, read the credits, have one pair validated; yield a line about each.

    Raises
    ------
    SagwatchError
        The first thing that did not work; its text says what to do.
    """
    until = min(as_of, datetime.combine(site.end, as_of.timetz())) if site.end else as_of
    answer = catalogue.search(track, until - LOOK_BACK, until)
    by_date = _usable(track, answer.granules)
    yield (
        f"catalogue: {len(answer.granules)} granules of {track.id} in {LOOK_BACK.days} days before {until:%Y-%m-%d}, "
        f"{len(by_date)} acquisitions with all bursts in {track.polarisation}: {', '.join(sorted(by_date)) or 'none'}"
    )
    remaining = cloud.remaining_credits()
    yield f"HyP3: {'unlimited credits' if remaining is None else f'{remaining:g} credits left this month'}"
    cost = cloud.cost(track.processor, track.looks, max(1, len(track.bursts)))
    yield f"HyP3: one pair costs {cost:g} credits ({track.processor}, {track.looks})"
    if len(by_date) < 2:
        yield "HyP3: nothing to validate, a pair needs two acquisitions"
        return
    first, second = sorted(by_date)[-2:]
    order = Order(
        pair_id="check-cloud",
        attempt=1,
        job_type=track.processor,
        parameters=order_parameters(track, by_date[first], by_date[second]),
        credits=cost,
    )
    cloud.validate([order])
    yield f"HyP3: would take the pair {first} to {second}; nothing was ordered"


def _usable(track: Track, granules: tuple[Granule, ...]) -> dict[str, tuple[str, ...]]:
    """Granule names by date, where the polarisation fits and no burst is missing; the newest name of each burst."""
    chosen: dict[str, dict[str | None, str]] = {}
    for granule in sorted(granules, key=lambda g: (g.published_at or g.acquired_at, g.name)):
        if track.polarisation in granule.polarisation:
            chosen.setdefault(granule.date.isoformat(), {})[granule.burst] = granule.name
    wanted: set[str | None] = set(track.bursts) or {None}
    return {
        day: tuple(names[burst] for burst in sorted(wanted, key=str))
        for day, names in chosen.items()
        if wanted <= set(names)
    }
