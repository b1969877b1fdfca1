"""The ground as a solution shows it, for judging and for publishing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid
from sagwatch.domain.judge import GroundView
from sagwatch.domain.site import AlertRules, WindowRules
from sagwatch.domain.windows import (
    WHOLE_RECORD,
    WindowVelocity,
    correct_for_correlation,
    pooled_correlation,
)
from sagwatch.engine.revision import ReferencePoint, Revision, RevisionSettings
from sagwatch.engine.solve import Solution
from sagwatch.engine.stack import Stack
from sagwatch.engine.velocity import Line, Window, fit_windows

Kind = TypeVar("Kind", bound=np.generic)

MM_PER_M = 1000.0
WHOLE = WindowRules(days=4000, least_epochs=4)


@dataclass(frozen=True)
class SolvedGround:
    """A solution on the grid, wherever it comes from.

    Attributes
    ----------
    los_m, observed
        Shape (n_epochs, n_pixels); pixels run row by row. NaN is no data.
    temporal_coherence
        Shape (n_pixels,).
    land
        Shape (n_pixels,).
    """

    grid: Grid
    dates: tuple[date, ...]
    los_m: NDArray[np.float32]
    observed: NDArray[np.bool_]
    temporal_coherence: NDArray[np.float32]
    n_observations: NDArray[np.uint16]
    land: NDArray[np.bool_]

    @classmethod
    def of_revision(cls, revision: Revision) -> SolvedGround:
        epochs = len(revision.epochs)
        layers = revision.layers
        return cls(
            grid=revision.grid,
            dates=tuple(revision.epochs),
            los_m=revision.los_m().reshape(epochs, -1),
            observed=revision.observed().reshape(epochs, -1),
            temporal_coherence=layers.temporal_coherence.ravel(),
            n_observations=layers.n_observations.ravel(),
            land=layers.land.ravel(),
        )

    @classmethod
    def of_past(
        cls,
        stack: Stack,
        day: date,
        grid: Grid,
        settings: RevisionSettings,
        reference: ReferencePoint,
        land: NDArray[np.bool_],
    ) -> SolvedGround:
        """The ground as it was known when ``day`` was the newest acquisition."""
        past = stack.until(day)
        solution: Solution = past.solve_whole(settings.inversion, reference.row, reference.column)
        return cls(
            grid=grid,
            dates=past.dates,
            los_m=solution.los_m,
            observed=solution.pairs_per_epoch > 0,
            temporal_coherence=solution.temporal_coherence,
            n_observations=solution.n_observations,
            land=land.ravel(),
        )

    def reliable(self, least_temporal_coherence: float) -> NDArray[np.bool_]:
        """Land whose temporal coherence suffices, shape (n_pixels,)."""
        with np.errstate(invalid="ignore"):
            return self.land & (self.temporal_coherence >= least_temporal_coherence)

    def image(self, flat: NDArray[Kind]) -> NDArray[Kind]:
        """Pixels as rows and columns."""
        return flat.reshape(*flat.shape[:-1], *self.grid.shape)


def window_velocities(
    ground: SolvedGround, windows: Sequence[WindowRules], reliable: NDArray[np.bool_], stable_mm_yr: float
) -> list[WindowVelocity]:
    """Velocities of some windows and, last, of the whole record, with deviations corrected for correlation.

    ``reliable`` has shape (n_pixels,); of it, pixels slower than ``stable_mm_yr`` tell how the noise correlates.
    """
    wanted = [Window(f"{rule.days}d", rule.days, rule.least_epochs) for rule in windows]
    wanted.append(Window("whole", None, WHOLE.least_epochs))
    lines = fit_windows(ground.dates, ground.los_m, wanted, ground.observed)
    return [
        _window_velocity(ground, window.days or WHOLE_RECORD, lines[window.name], reliable, stable_mm_yr)
        for window in wanted
    ]


def ground_view(
    ground: SolvedGround, rules: AlertRules, least_temporal_coherence: float, incidence_deg: float | None
) -> GroundView:
    """What the judgement looks at."""
    reliable = ground.reliable(least_temporal_coherence)
    *windows, whole = window_velocities(ground, rules.windows, reliable, -rules.levels_mm_yr[0] / 4)
    return GroundView(
        epoch=ground.dates[-1],
        windows=tuple(windows),
        whole=whole,
        observed=ground.image(ground.observed[-1]),
        reliable=ground.image(reliable),
        displacement_mm=ground.image(ground.los_m[-1] * np.float32(MM_PER_M)),
        incidence_deg=incidence_deg,
    )


def _window_velocity(
    ground: SolvedGround, days: int, line: Line, reliable: NDArray[np.bool_], stable_mm_yr: float
) -> WindowVelocity:
    velocity = line.velocity_m_yr * np.float32(MM_PER_M)
    white = line.velocity_std_m_yr * np.float32(MM_PER_M)
    with np.errstate(invalid="ignore"):
        stable = reliable & (np.abs(velocity) < stable_mm_yr)
    correlation = pooled_correlation(line.residue_m**2, line.residual_correlation, line.n_epochs, stable)
    return WindowVelocity(
        days=days,
        velocity_mm_yr=ground.image(velocity),
        sd_white_mm_yr=ground.image(white),
        sd_mm_yr=ground.image(correct_for_correlation(white, correlation)),
        n_epochs=ground.image(line.n_epochs),
        correlation=correlation,
    )
