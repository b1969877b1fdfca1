"""Judge acquisitions one after the other, each on the solution that ends with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid
from sagwatch.domain.judge import GroundView, Judged, WatchState, judge
from sagwatch.domain.site import AlertRules
from sagwatch.domain.windows import (
    WHOLE_RECORD,
    WindowVelocity,
    correct_for_correlation,
    pooled_correlation,
)
from sagwatch.engine.velocity import LEAST_EPOCHS_OF_A_LINE, Line, Window, fit_windows

log = logging.getLogger(__name__)


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
    """

    dates: tuple[date, ...]
    los_m: NDArray[np.float32]
    temporal_coherence: NDArray[np.float32]
    observed: NDArray[np.bool_] | None = None
    incidence_deg: float | None = None


def judge_settled(
    track_id: str,
    grid: Grid,
    rules: AlertRules,
    min_temporal_coherence: float,
    epochs: Sequence[date],
    state: WatchState,
    solution_until: Callable[[date], Solution],
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
        view = ground_view(epoch, solution_until(epoch), rules, min_temporal_coherence)
        result = judge(view, state, rules, grid, track_id)
        state = result.state
        judged.append(result)
        for event in result.events:
            log.info("%s of %s: %s. %s", epoch, track_id, event.type, event.sentence)
    return judged


def ground_view(
    epoch: date, solution: Solution, rules: AlertRules, min_temporal_coherence: float
) -> GroundView:
    """The windows of a solution, with noise that is correlated in time taken into account."""
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
    threshold = rules.levels_mm_yr[0]
    windows = [
        _with_noise(window.days or WHOLE_RECORD, lines[window.name], shape, reliable, threshold)
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
    )


def _with_noise(
    days: int, line: Line, shape: tuple[int, ...], reliable: NDArray[np.bool_], threshold_mm_yr: float
) -> WindowVelocity:
    velocity = (line.velocity_m_yr * 1000).astype(np.float32)
    white = (line.velocity_std_m_yr * 1000).astype(np.float32)
    with np.errstate(invalid="ignore"):
        stable = reliable.ravel() & (np.abs(velocity) < -threshold_mm_yr / 2)
    correlation = pooled_correlation(
        line.residue_m.astype(np.float64) ** 2, line.residual_correlation, line.n_epochs, stable
    )
    return WindowVelocity(
        days=days,
        velocity_mm_yr=velocity.reshape(shape),
        sd_white_mm_yr=white.reshape(shape),
        sd_mm_yr=correct_for_correlation(white, correlation).reshape(shape),
        n_epochs=line.n_epochs.reshape(shape),
        correlation=correlation,
    )
