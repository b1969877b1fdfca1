"""Judge acquisitions one after the other, each on the solution that ends with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.grid import Grid
from sagwatch.domain.judge import judge
from sagwatch.domain.judgement import GroundView, Judged, WatchState
from sagwatch.domain.mine import Mine
from sagwatch.domain.windows import (
    WHOLE_RECORD,
    WindowVelocity,
    correct_for_correlation,
    pooled_correlation,
)
from sagwatch.engine.decorrelation import decorrelation_std_m_yr
from sagwatch.engine.velocity import LEAST_EPOCHS_OF_A_LINE, Line, Window, fit_windows

log = logging.getLogger(__name__)

#: Surroundings of which less than this share was seen say nothing.
_LEAST_SEEN = 0.1


@dataclass(frozen=True)
class Solution:
    """The displacement history that is known at an acquisition.

    Attributes
    ----------
    dates
        Acquisitions, rising; the last one is the one to judge.
    los_m
        Shape (n_epochs, rows, columns), metres since the first, negative away from the satellite; NaN is no data.
    temporal_coherence
        Shape (rows, columns), 0 to 1; NaN is no data.
    observed
        Shape (n_epochs, rows, columns): the pixel's interferograms really saw that acquisition. None: wherever there is
        a value.
    incidence_deg
        Mean angle between the vertical and the line of sight.
    misclosed
        Shape (rows, columns): interferograms with the last acquisition contradict each other by whole cycles.
    pairs
        The interferograms that it was solved from, by their dates, earlier first. Empty: not known, and the deviations
        have the scatter about the lines only.
    """

    dates: tuple[date, ...]
    los_m: NDArray[np.float32]
    temporal_coherence: NDArray[np.float32]
    observed: NDArray[np.bool_] | None = None
    incidence_deg: float | None = None
    misclosed: NDArray[np.bool_] | None = None
    pairs: tuple[tuple[date, date], ...] = ()


def judge_settled(
    track_id: str,
    grid: Grid,
    rules: AlertRules,
    min_temporal_coherence: float,
    epochs: Sequence[date],
    state: WatchState,
    solution_until: Callable[[date], Solution],
    mine: Mine | None = None,
) -> list[Judged]:
    """Judge acquisitions in order of date; nothing is written down here.

    Parameters
    ----------
    epochs
        Acquisitions to judge. Those not newer than ``state.last_epoch`` came late: their data are in every later
        solution, and an acquisition that was judged is not judged again, so they are left out.
    state
        What was remembered after the last acquisition judged.
    solution_until
        Gives the solution that ends with an acquisition, or with the nearest earlier one of the stack.

    Returns
    -------
    One `Judged` per acquisition, the last one with the state to be remembered.
    """
    judged: list[Judged] = []
    for epoch in sorted(set(epochs)):
        if state.last_epoch is not None and epoch <= state.last_epoch:
            log.info("%s of %s came late: judged with the next acquisition", epoch, track_id)
            continue
        view = ground_view(epoch, solution_until(epoch), rules, min_temporal_coherence, grid.pixel_m)
        result = judge(view, state, rules, grid, track_id, mine)
        state = result.state
        judged.append(result)
        for event in result.events:
            log.info("%s of %s: %s. %s", epoch, track_id, event.type, event.sentence)
    return judged


def ground_view(
    epoch: date, solution: Solution, rules: AlertRules, min_temporal_coherence: float, pixel_m: float
) -> GroundView:
    """The windows of a solution, with the deviations of their velocities.

    Two kinds of noise make them up, with variances that add: what scatters about a line, with its correlation in time
    (`windows`), and the random walk of decorrelation, which a line follows (`decorrelation`).
    """
    n_epochs = len(solution.dates)
    shape = solution.los_m.shape[1:]
    if solution.los_m.shape[0] != n_epochs or not n_epochs or solution.dates[-1] > epoch:
        raise ValueError(
            f"the solution for {epoch} has {solution.los_m.shape[0]} epochs for {n_epochs} dates up to "
            f"{solution.dates[-1] if n_epochs else 'none'}"
        )
    seen = np.isfinite(solution.los_m)
    if solution.observed is not None:
        seen &= solution.observed
    with np.errstate(invalid="ignore"):
        reliable = solution.temporal_coherence >= min_temporal_coherence
    wanted = [Window("whole", None, LEAST_EPOCHS_OF_A_LINE)]
    wanted += [Window(f"{rule.days}d", rule.days, rule.least_epochs) for rule in rules.windows]
    lines = fit_windows(
        solution.dates, solution.los_m.reshape(n_epochs, -1), wanted, seen.reshape(n_epochs, -1)
    )
    local = _against_surroundings(solution, wanted[1:], seen, rules.ring_m / pixel_m)
    walk = decorrelation_std_m_yr(solution.temporal_coherence, solution.dates, solution.pairs, wanted)
    threshold = rules.levels_mm_yr[0]
    windows = [
        _with_noise(
            window.days or WHOLE_RECORD,
            lines[window.name],
            shape,
            reliable,
            threshold,
            local.get(window.name),
            walk.get(window.name),
        )
        for window in wanted
    ]
    return GroundView(
        epoch=epoch,
        windows=tuple(windows[1:]),
        whole=windows[0],
        observed=seen[-1] & (solution.dates[-1] == epoch),
        reliable=reliable,
        displacement_mm=(solution.los_m[-1] * 1000).astype(np.float32),
        incidence_deg=solution.incidence_deg,
        dates=solution.dates,
        los_m=solution.los_m,
        misclosed=solution.misclosed,
    )


def _against_surroundings(
    solution: Solution,
    windows: Sequence[Window],
    seen: NDArray[np.bool_],
    ring_pixels: float,
) -> dict[str, Line]:
    """Lines through the histories minus the mean of their surroundings, for their scatter only.

    The mean of a square is quick, and its own motion does not matter: a line takes it out.
    """
    longest = max((window.days or 0 for window in windows), default=0)
    first = next(
        (i for i, day in enumerate(solution.dates) if (solution.dates[-1] - day).days <= longest),
        len(solution.dates) - 1,
    )
    width = max(3, round(ring_pixels))
    local = np.empty_like(solution.los_m[first:], dtype=np.float32)
    for number, field in enumerate(solution.los_m[first:]):
        local[number] = field - _mean_around(field, seen[first + number], width)
    shape = (local.shape[0], -1)
    return fit_windows(
        solution.dates[first:], local.reshape(shape), list(windows), seen[first:].reshape(shape)
    )


def _mean_around(field: NDArray[np.floating], seen: NDArray[np.bool_], width: int) -> NDArray[np.floating]:
    """Mean of what was seen in the square around each pixel; that of everything where nothing was."""
    if not seen.any():
        return np.zeros_like(field)
    if seen.all():
        return uniform_filter(field, width, mode="reflect")
    weight = uniform_filter(seen.astype(np.float32), width, mode="reflect")
    total = uniform_filter(np.where(seen, field, 0).astype(np.float32), width, mode="reflect")
    everywhere = float(np.mean(field[seen]))
    return np.where(weight > _LEAST_SEEN, total / np.maximum(weight, _LEAST_SEEN), everywhere)


def _with_noise(
    days: int,
    line: Line,
    shape: tuple[int, ...],
    reliable: NDArray[np.bool_],
    threshold_mm_yr: float,
    local: Line | None = None,
    walk_m_yr: NDArray[np.float32] | None = None,
) -> WindowVelocity:
    velocity = (line.velocity_m_yr * 1000).astype(np.float32)
    with np.errstate(invalid="ignore"):
        stable = reliable.ravel() & (np.abs(velocity) < -threshold_mm_yr / 2)
    walk = np.float32(0) if walk_m_yr is None else 1000 * walk_m_yr.ravel()
    deviation, correlation = _deviation(line, stable, walk)
    return WindowVelocity(
        # The surroundings, a mean of many pixels, share no decorrelation with a pixel.
        sd_local_mm_yr=None if local is None else _deviation(local, stable, walk)[0].reshape(shape),
        days=days,
        velocity_mm_yr=velocity.reshape(shape),
        sd_white_mm_yr=(line.velocity_std_m_yr * 1000).astype(np.float32).reshape(shape),
        sd_mm_yr=deviation.reshape(shape),
        n_epochs=line.n_epochs.reshape(shape),
        correlation=correlation,
        sd_walk_mm_yr=None if walk_m_yr is None else walk.reshape(shape),
    )


def _deviation(
    line: Line, stable: NDArray[np.bool_], walk_mm_yr: NDArray[np.float32] | np.float32
) -> tuple[NDArray[np.float32], float]:
    """Deviation of the line's slope, mm/yr, and the correlation in time of the scatter about it."""
    correlation = pooled_correlation(
        line.residue_m.astype(np.float64) ** 2, line.residual_correlation, line.n_epochs, stable
    )
    scatter = correct_for_correlation(line.velocity_std_m_yr * 1000, correlation)
    return np.hypot(scatter, walk_mm_yr), correlation
