"""Which interferograms are too incoherent for the stack, and which of them stay because they hold it together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from sagwatch.domain.network import connected_groups
from sagwatch.domain.pair import Pair
from sagwatch.domain.stack_rules import CoherenceRules


@dataclass(frozen=True, slots=True)
class Measured:
    """An interferogram with the mean coherence of its valid pixels on land, over the whole grid."""

    id: str
    reference: date
    secondary: date
    mean_coherence: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether an interferogram belongs into the stack; a reason wherever its coherence is too low."""

    kept: bool
    reason: str | None = None


def stand(measured: Iterable[Measured], rules: CoherenceRules) -> dict[str, Standing]:
    """Decide about the whole set at once, by id: the same set in any order gets the same answer.

    An interferogram below ``least_mean`` is excluded. With ``keep_connected``, those without which acquisitions would
    be cut off stay: the most coherent ones that do it, and no more (the rest of a maximum-coherence spanning tree, as
    MintPy's keepMinSpanTree). Each of them is therefore the only way across.
    """
    ordered = sorted(measured, key=lambda one: (-one.mean_coherence, one.secondary, one.reference, one.id))
    good = [one for one in ordered if one.mean_coherence >= rules.least_mean]
    low = [one for one in ordered if one.mean_coherence < rules.least_mean]
    needed = _needed(good, low) if rules.keep_connected else []
    in_stack = [*good, *needed]
    answer = {one.id: Standing(True) for one in good}
    answer |= {
        one.id: Standing(False, f"mean coherence {one.mean_coherence:.3f} is below {rules.least_mean:g}")
        for one in low
    }
    return answer | {one.id: Standing(True, _why_kept(one, in_stack, rules)) for one in needed}


def _needed(good: Sequence[Measured], low: Sequence[Measured]) -> list[Measured]:
    """Those of the incoherent ones that join groups of dates, the most coherent first (Kruskal's algorithm)."""
    group_of = {day: day for one in (*good, *low) for day in (one.reference, one.secondary)}

    def group(day: date) -> date:
        while group_of[day] != day:
            group_of[day] = group_of[group_of[day]]
            day = group_of[day]
        return day

    def joins(one: Measured) -> bool:
        first, second = group(one.reference), group(one.secondary)
        group_of[second] = first
        return first != second

    for one in good:
        joins(one)
    return [one for one in low if joins(one)]


def _why_kept(one: Measured, in_stack: Sequence[Measured], rules: CoherenceRules) -> str:
    """What would be cut off without it: the smaller side, of equal ones the later."""
    others = [Pair("", other.reference, other.secondary, None) for other in in_stack if other is not one]
    sides = [
        group
        for group in connected_groups({day for p in in_stack for day in (p.reference, p.secondary)}, others)
        if one.reference in group or one.secondary in group
    ]
    lost = min(sides, key=lambda side: (len(side), -side[0].toordinal()))
    fate = (
        f"{lost[0]} would stand alone"
        if len(lost) == 1
        else f"{len(lost)} acquisitions from {lost[0]} to {lost[-1]} would hang together with no others"
    )
    return (
        f"kept, although its mean coherence {one.mean_coherence:.3f} is below {rules.least_mean:g}: "
        f"without it {fate}"
    )
