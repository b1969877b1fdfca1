"""Run a set of rules over a track's archive, as if it had judged every acquisition when it was new.

Nothing is written into the ledger. What is right and wrong is measured against the faces of the site's mine plan: an
alert near a face counts as explained by it, one far from all as unexplained. On simulated ground the faces are the
truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.alert import VELOCITY_RULE, AlertEvent
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.grid import Grid
from sagwatch.domain.judge import judge
from sagwatch.domain.judgement import GroundView, Judged, WatchState
from sagwatch.domain.mine import Mine
from sagwatch.domain.mine_plan import Face
from sagwatch.steps.judge import Solution, ground_view

#: The whole ladder of levels is scaled by these for the curve; 1 is the rules as they are.
FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)
#: An alert so near to a face is explained by it.
EXPLAINED_M = 1000.0
DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Outcome:
    """What one set of rules did.

    ``delays_days`` by face: from its begin (or the first judged acquisition, if that is later) to the first velocity
    alert near it; None where there was none. ``exposure`` is in units of 100 km² and year.
    """

    factor: float
    events: tuple[AlertEvent, ...]
    pages: int
    reraised: int
    zone_years: float
    unexplained: int
    exposure: float
    delays_days: dict[str, int | None]

    @property
    def unexplained_rate(self) -> float:
        """Unexplained paged zones per 100 km² and year."""
        return self.unexplained / self.exposure if self.exposure else float("nan")

    @property
    def chatter(self) -> float:
        """Raises after the first, per year that a zone lived."""
        return self.reraised / self.zone_years if self.zone_years else 0.0

    @property
    def found(self) -> int:
        """Faces with an alert near them."""
        return sum(days is not None for days in self.delays_days.values())

    @property
    def median_delay_days(self) -> float | None:
        known = [days for days in self.delays_days.values() if days is not None]
        return float(median(known)) if known else None


def backtest(
    track_id: str,
    grid: Grid,
    rules: AlertRules,
    min_temporal_coherence: float,
    epochs: Sequence[date],
    solution_until: Callable[[date], Solution],
    mine: Mine,
    factors: Sequence[float] = FACTORS,
    on_epoch: Callable[[date], object] = lambda _: None,
) -> list[Outcome]:
    """Judge an archive with the rules and with their levels scaled; one outcome for each factor, in order.

    Every acquisition is solved once and judged by all of them.
    """
    scaled = {factor: scale(rules, factor) for factor in sorted(factors)}
    states = {factor: WatchState() for factor in scaled}
    judged: dict[float, list[Judged]] = {factor: [] for factor in scaled}
    observed = np.zeros(grid.shape, dtype=bool)
    for epoch in sorted(set(epochs)):
        view = ground_view(epoch, solution_until(epoch), rules, min_temporal_coherence, grid.pixel_m)
        observed |= view.observed & view.reliable
        for factor, variant in scaled.items():
            result = judge(_for(view, variant), states[factor], variant, grid, track_id, mine)
            states[factor] = result.state
            judged[factor].append(result)
        on_epoch(epoch)
    return [_outcome(factor, judged[factor], observed, grid, mine) for factor in scaled]


def scale(rules: AlertRules, factor: float) -> AlertRules:
    """The same rules with all velocity levels and the deadband times a factor."""
    return rules.model_copy(
        update={
            "levels_mm_yr": tuple(level * factor for level in rules.levels_mm_yr),
            "deadband_mm_yr": rules.deadband_mm_yr * factor,
        }
    )


def _for(view: GroundView, rules: AlertRules) -> GroundView:
    """A view has the windows of its rules; scaling changes levels only."""
    if len(view.windows) != len(rules.windows):
        raise ValueError("scaled rules have other windows than the view")
    return view


def _outcome(
    factor: float, judged: Sequence[Judged], observed: NDArray[np.bool_], grid: Grid, mine: Mine
) -> Outcome:
    events = tuple(event for one in judged for event in one.events)
    places = {
        (one.epoch, snapshot.zone_id): snapshot.footprint.pixels
        for one in judged
        for snapshot in one.snapshots
    }
    raised = [e for e in events if e.rule == VELOCITY_RULE and e.type == "raised"]
    first: dict[str, int | None] = {face.name: None for face, _ in mine.faces}
    unexplained: set[str] = set()
    for event in raised:
        near = _faces_near(places[event.epoch, event.subject], mine, grid)
        if not near:
            unexplained.add(event.subject)
        for face in near:
            since = max(face.begin, judged[0].epoch)
            if first[face.name] is None and event.epoch >= since:
                first[face.name] = (event.epoch - since).days
    years = (judged[-1].epoch - judged[0].epoch).days / DAYS_PER_YEAR if judged else 0.0
    return Outcome(
        factor=factor,
        events=events,
        pages=sum(event.is_news for event in events),
        reraised=len(raised) - len({event.subject for event in raised}),
        zone_years=_zone_years(judged),
        unexplained=len(unexplained),
        exposure=float(observed.sum()) * grid.pixel_m**2 / 1e8 * years,
        delays_days=first,
    )


def _faces_near(pixels: NDArray[np.int64], mine: Mine, grid: Grid) -> list[Face]:
    from shapely.geometry import MultiPoint

    x, y = grid.xy(*np.divmod(pixels, grid.columns))
    area = MultiPoint(np.column_stack([x, y]))
    return [face for face, shape in mine.faces if shape.distance(area) <= EXPLAINED_M]


def _zone_years(judged: Sequence[Judged]) -> float:
    days = 0
    for before, now in pairwise(judged):
        days += (now.epoch - before.epoch).days * sum(zone.lives for zone in now.state.zones)
    return days / DAYS_PER_YEAR


def report(outcomes: Sequence[Outcome]) -> list[str]:
    """Lines for people: one for each factor, then what the rules as they are did."""
    lines = [
        f"{'levels':>8}  {'pages':>6}  {'faces found':>12}  {'median delay':>12}  {'unexplained zones':>18}  "
        f"{'per 100 km² and year':>21}  {'chatter':>8}"
    ]
    for one in outcomes:
        delay = "-" if one.median_delay_days is None else f"{one.median_delay_days:.0f} days"
        lines.append(
            f"{one.factor:>7g}x  {one.pages:>6}  {f'{one.found} of {len(one.delays_days)}':>12}  {delay:>12}  "
            f"{one.unexplained:>18}  {one.unexplained_rate:>21.2f}  {one.chatter:>8.2f}"
        )
    own = next((one for one in outcomes if one.factor == 1.0), outcomes[-1])
    if not own.delays_days:
        lines.append("the site's mine plan has no faces, so every zone counts as unexplained")
    for face, days in own.delays_days.items():
        found = f"first alert after {days} days" if days is not None else "no alert near it"
        lines.append(f"{face}: {found}")
    lines += [
        f"{e.epoch}  {e.rule}  {e.tell:<6}  {e.type:<7}  level {e.to_level}  {e.evidence['zone']}"
        for e in own.events
    ]
    return lines


def draw(outcomes: Sequence[Outcome], title: str, file: Path) -> Path:
    """The curve of delay against unexplained zones, as a picture; returns the file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    known = [one for one in outcomes if one.median_delay_days is not None]
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(
        [one.unexplained_rate for one in known],
        [float(one.median_delay_days or 0) for one in known],
        "o-",
        color="#1f5a8a",
    )
    for one in known:
        axes.annotate(
            f"levels × {one.factor:g}",
            (one.unexplained_rate, float(one.median_delay_days or 0)),
            textcoords="offset points",
            xytext=(7, 5),
        )
    axes.set_xlabel("unexplained paged zones per 100 km² and year")
    axes.set_ylabel("median days from a face's begin to its first alert")
    axes.set_title(title)
    axes.grid(visible=True, alpha=0.3)
    figure.savefig(file, dpi=120)
    return file
