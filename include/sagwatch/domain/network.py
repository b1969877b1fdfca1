"""Which pairs a track wants: the small-baseline network, and why each pair is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from sagwatch.domain.acquisition import Acquisition
from sagwatch.domain.pair import Pair
from sagwatch.domain.stack_rules import NetworkRules


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """The wanted pairs, in order of their dates.

    ``bridges`` are those of them that break a limit so that the network hangs together. ``disconnected`` are groups of
    dates that no chain of pairs joins to the rest, without the largest group; empty if everything is joined.
    """

    pairs: tuple[Pair, ...]
    bridges: tuple[Pair, ...]
    disconnected: tuple[tuple[date, ...], ...]
    explanations: tuple[str, ...]


def plan_network(acquisitions: Iterable[Acquisition], rules: NetworkRules) -> NetworkPlan:
    """Plan the pairs among acquisitions of one track.

    A pair is wanted when it is no longer than ``max_days`` and no wider than ``max_perpendicular_m``, and its later
    date is among the first ``neighbours`` later dates for which that holds. Whether a pair is wanted therefore
    depends only on the dates from its first to its last: acquisitions that follow never take a pair away. One that
    arrives late and lies between two others can push the pair over it out of the neighbours.

    An unknown perpendicular baseline is allowed: Sentinel-1 is kept in a tube in which 300 m are rare.

    With ``bridge``, a date that the rule joins to no earlier one is joined to the nearest earlier date, which needs
    to know nothing of what follows either.
    """
    ordered = sorted(acquisitions, key=lambda a: a.date)
    if rules.only is not None:
        pairs, explanations = _named_pairs(ordered, rules.only)
        bridges: list[Pair] = []
    else:
        pairs, explanations = _pairs_by_rule(ordered, rules), []
        bridges = _bridges(ordered, pairs) if rules.bridge else []
    pairs = sorted([*pairs, *bridges], key=lambda p: (p.reference, p.secondary))
    groups = connected_groups([a.date for a in ordered], pairs)
    main = max(groups, key=lambda g: (len(g), g[0]), default=())
    disconnected = tuple(group for group in groups if group is not main)
    if rules.only is None:
        explanations += [_why_alone(group, rules) for group in disconnected]
    return NetworkPlan(tuple(pairs), tuple(bridges), disconnected, tuple(explanations))


def _pairs_by_rule(ordered: Sequence[Acquisition], rules: NetworkRules) -> list[Pair]:
    pairs = []
    for position, first in enumerate(ordered):
        taken = 0
        for second in ordered[position + 1 :]:
            days = (second.date - first.date).days
            if days > rules.max_days or taken == rules.neighbours:
                break
            across_m = _perpendicular_m(first, second)
            if across_m is not None and abs(across_m) > rules.max_perpendicular_m:
                continue
            taken += 1
            pairs.append(_pair(first, second, _within(days, across_m, taken, rules)))
    return pairs


def _within(days: int, across_m: float | None, place: int, rules: NetworkRules) -> str:
    across = (
        "perpendicular baseline unknown, the catalogue has no state vectors"
        if across_m is None
        else f"{abs(across_m):.0f} of {rules.max_perpendicular_m:g} m"
    )
    return f"neighbour {place} of {rules.neighbours}: {days} of {rules.max_days} days, {across}"


def _bridges(ordered: Sequence[Acquisition], pairs: Sequence[Pair]) -> list[Pair]:
    joined = {pair.secondary for pair in pairs}
    return [
        _pair(
            before, after, f"bridge over {(after.date - before.date).days} days: no earlier date is in reach"
        )
        for before, after in pairwise(ordered)
        if after.date not in joined
    ]


def _named_pairs(
    ordered: Sequence[Acquisition], only: Sequence[tuple[date, date]]
) -> tuple[list[Pair], list[str]]:
    by_date = {a.date: a for a in ordered}
    pairs, explanations = [], []
    for reference, secondary in sorted({(min(p), max(p)) for p in only}):
        missing = [str(day) for day in (reference, secondary) if day not in by_date]
        if missing:
            explanations.append(
                f"{reference} to {secondary} waits: no acquisition of {' and '.join(missing)}"
            )
        else:
            pairs.append(_pair(by_date[reference], by_date[secondary], "named in the site file"))
    return pairs, explanations


def _pair(first: Acquisition, second: Acquisition, why: str) -> Pair:
    return Pair(first.track_id, first.date, second.date, _perpendicular_m(first, second), why)


def _perpendicular_m(first: Acquisition, second: Acquisition) -> float | None:
    if first.perpendicular_baseline_m is None or second.perpendicular_baseline_m is None:
        return None
    return second.perpendicular_baseline_m - first.perpendicular_baseline_m


def connected_groups(dates: Iterable[date], pairs: Iterable[Pair]) -> list[tuple[date, ...]]:
    """Groups of dates that chains of pairs join, each sorted, in order of their first dates."""
    neighbours: dict[date, set[date]] = {day: set() for day in dates}
    for pair in pairs:
        neighbours[pair.reference].add(pair.secondary)
        neighbours[pair.secondary].add(pair.reference)
    groups, seen = [], set()
    for start in sorted(neighbours):
        if start in seen:
            continue
        group, waiting = {start}, [start]
        while waiting:
            for day in neighbours[waiting.pop()] - group:
                group.add(day)
                waiting.append(day)
        seen |= group
        groups.append(tuple(sorted(group)))
    return groups


def _why_alone(group: Sequence[date], rules: NetworkRules) -> str:
    dates = f"{group[0]}" if len(group) == 1 else f"{group[0]} to {group[-1]} ({len(group)} dates)"
    return (
        f"{dates}: no chain of pairs within {rules.max_days} days and {rules.max_perpendicular_m:g} m "
        "leads to the rest of the track; set network.bridge: true to join it"
    )
