"""Which epochs the interferograms connect, and how they are inverted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.weights import Weight
from sagwatch.errors import BadInputError

DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Network:
    """Which epochs the interferograms connect, and when the epochs were.

    Attributes
    ----------
    days
        Shape (n_epochs,), whole days since the first epoch, rising from 0.
    earlier, later
        Shape (n_pairs,), index of each pair's two epochs; earlier < later.
    """

    days: NDArray[np.int64]
    earlier: NDArray[np.int64]
    later: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.days.ndim != 1 or self.days.size < 2 or self.days[0] != 0 or np.any(np.diff(self.days) <= 0):
            raise BadInputError(
                f"the days of the epochs must rise from 0, at least two of them; got {self.days}"
            )
        if self.earlier.shape != self.later.shape or self.earlier.ndim != 1 or self.earlier.size == 0:
            raise BadInputError("a network needs one earlier and one later epoch for each of its pairs")
        inside = (self.earlier >= 0) & (self.later < self.days.size)
        if not np.all(inside & (self.earlier < self.later)):
            raise BadInputError("each pair must name two of the epochs, the earlier one first")

    @property
    def n_epochs(self) -> int:
        return self.days.size

    @property
    def n_pairs(self) -> int:
        return self.earlier.size

    @property
    def bandwidth(self) -> int:
        """The longest pair, in epochs."""
        return int(np.max(self.later - self.earlier))

    @property
    def steps_year(self) -> NDArray[np.float64]:
        """Time between neighbouring epochs in years, shape (n_epochs - 1,)."""
        return np.diff(self.days).astype(np.float64) / DAYS_PER_YEAR

    @property
    def pairs_per_epoch(self) -> NDArray[np.int64]:
        """How many pairs touch each epoch, shape (n_epochs,)."""
        touches = np.bincount(self.earlier, minlength=self.n_epochs)
        return touches + np.bincount(self.later, minlength=self.n_epochs)

    def reach(self, epoch: int) -> int:
        """How many epochs after ``epoch`` the pairs with an earlier epoch before it touch."""
        before = self.later[self.earlier < epoch]
        return int(np.max(before, initial=epoch)) - epoch


@dataclass(frozen=True, slots=True)
class InversionSettings:
    """What MintPy's template calls ``mintpy.networkInversion``; the defaults are MintPy's.

    ``looks`` is the number of independent looks (see `weights.independent_looks`). With ``coherence_threshold``
    an observation below it is missing.
    """

    wavelength_m: float
    looks: int
    weight: Weight = Weight.VARIANCE
    min_redundancy: float = 1.0
    coherence_threshold: float | None = None

    def __post_init__(self) -> None:
        if self.wavelength_m <= 0 or self.looks < 1:
            raise BadInputError(f"wavelength {self.wavelength_m} m and {self.looks} looks must be positive")
        if self.coherence_threshold is not None and not 0 <= self.coherence_threshold < 1:
            raise BadInputError(f"a coherence threshold of {self.coherence_threshold} is not in [0, 1)")

    @property
    def metres_per_radian(self) -> float:
        """LOS displacement of one radian; negative, because phase grows away from the satellite."""
        return -self.wavelength_m / (4.0 * np.pi)
