"""MintPy's side of the engine benchmark: its programs on a copy of a revision, and its function in memory.

MintPy inverts pixel by pixel where it weighs, or where observations are missing. Its programs are therefore run on
two random samples of the pixels: their difference is the time of a pixel, and the whole stack's time is that of the
small sample and of the pixels that it lacks. Where a run on all pixels is short, nothing is scaled.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import numpy as np
from mintpy.ifgram_inversion import estimate_timeseries

from sagwatch.engine.manifest import WHOLE_RECORD
from sagwatch.engine.mintpy_process import run_program
from sagwatch.engine.mintpy_programs import Sample, export_mintpy
from sagwatch.engine.network import InversionSettings, Network
from sagwatch.engine.revision import Revision, read_revision
from sagwatch.engine.solve import Observations, Solution
from sagwatch.engine.weights import Weight, weigh

#: Above this share of all pixels, a sample saves too little to be worth the scaling.
NEARLY_ALL = 0.6
_SHARE_SECONDS = 0.8


@dataclass(frozen=True)
class Run:
    """The two programs on so many pixels."""

    pixels: int
    seconds: float


@dataclass(frozen=True)
class Extrapolated:
    """Time of all pixels, from runs on samples of two sizes."""

    fixed_seconds: float
    pixel_seconds: float
    seconds: float
    spread: float | None


def extrapolate(runs: list[Run], pixels: int) -> Extrapolated:
    """Scale to all pixels. ``spread`` is how far the repeats are apart, as a fraction of the result."""
    sizes = sorted({run.pixels for run in runs})
    taken = {size: [run.seconds for run in runs if run.pixels == size] for size in sizes}
    if sizes == [pixels]:
        seconds = median(taken[pixels])
        return Extrapolated(0.0, seconds / pixels, seconds, _spread(taken[pixels]))
    small, large = sizes
    pixel = (median(taken[large]) - median(taken[small])) / (large - small)
    fixed = median(taken[small]) - small * pixel
    wholes = [
        low + (high - low) / (large - small) * (pixels - small)
        for low, high in zip(taken[small], taken[large], strict=True)
    ]
    return Extrapolated(fixed, pixel, fixed + pixel * pixels, _spread(wholes))


def _spread(seconds: list[float]) -> float | None:
    return None if len(seconds) < 2 else (max(seconds) - min(seconds)) / median(seconds)


def sample_sizes(pixels: int, pixel_seconds: float, seconds: float) -> tuple[int, ...]:
    """A small and a large sample, the large one of about ``seconds``; or all pixels at once."""
    if seconds > NEARLY_ALL * pixels * pixel_seconds:
        return (pixels,)
    large = int(seconds / pixel_seconds)
    return max(large // 10, 1), large


def measure_programs(
    revision: Path, weight: Weight, scratch: Path, pixel_seconds: float, seconds: float, repeats: int
) -> dict[str, Any]:
    """Seconds of ``ifgram_inversion`` and ``timeseries2velocity`` for all pixels, and our difference to them."""
    ours = read_revision(revision)
    observed = ours.layers.land & (ours.layers.n_observations > 0)
    observed[ours.manifest.reference.row, ours.manifest.reference.column] = False
    pixels = int(observed.sum())
    sizes = sample_sizes(pixels, pixel_seconds, seconds)
    with tempfile.TemporaryDirectory(prefix="mintpy-", dir=scratch) as name:
        folder = export_mintpy(revision, Path(name) / "export")
        runs = []
        for seed in range(repeats):
            for size in sizes:
                drawn = Sample(size, seed).draw(observed)
                runs.append(Run(size, _run_programs(folder, drawn, weight)))
        found = differences(ours, folder, drawn)
    whole = extrapolate(runs, pixels)
    return {
        "weight": str(weight),
        "pixels": pixels,
        "scaled_from_samples": len(sizes) > 1,
        "sample_runs": [[run.pixels, run.seconds] for run in runs],
        "seconds": whole.seconds,
        "fixed_seconds": whole.fixed_seconds,
        "pixel_seconds": whole.pixel_seconds,
        "seconds_spread": whole.spread,
        **found,
    }


def _run_programs(folder: Path, pixels: np.ndarray, weight: Weight) -> float:
    """Seconds of the two programs; what they shall not invert is called water."""
    with h5py.File(folder / "waterMask.h5", "r+") as file:
        file["waterMask"][:] = pixels
    began = time.perf_counter()
    words = ["inputs/ifgramStack.h5", "-w", str(weight), "-m", "waterMask.h5"]
    run_program("ifgram_inversion", words, folder)
    run_program("timeseries2velocity", ["timeseries.h5", "-o", "velocity.h5"], folder)
    return time.perf_counter() - began


def differences(ours: Revision, folder: Path, pixels: np.ndarray) -> dict[str, Any]:
    """What our revision and MintPy's files say of some pixels; rejected ones (zeros) count as mask and count only."""
    layers, line = ours.layers, ours.layers.lines[WHOLE_RECORD.name]
    kept = pixels & layers.redundant
    counts = _read(folder / "numInvIfgram.h5", "mask")
    series = _read(folder / "timeseries.h5", "timeseries")
    gap_mm = 1000 * np.abs(ours.los_m().astype(np.float64)[:, kept] - series[:, kept]).max(axis=0)
    velocity = 1000 * (line.velocity_m_yr - _read(folder / "velocity.h5", "velocity"))
    agreement = layers.temporal_coherence - _read(folder / "temporalCoherence.h5", "temporalCoherence")
    torn = layers.parts[kept] > 1
    return {
        "compared_pixels": int(pixels.sum()),
        "rejected_pixels": int((pixels & ~layers.redundant).sum()),
        "torn_pixels": int(torn.sum()),
        "max_difference_mm": float(gap_mm.max()),
        "max_difference_whole_networks_mm": float(gap_mm[~torn].max(initial=0)),
        "max_difference_velocity_mm_yr": float(np.abs(velocity[kept]).max()),
        "max_difference_temporal_coherence": float(np.abs(agreement[kept]).max()),
        "counts_that_differ": int((np.where(kept, layers.n_observations, 0) != counts)[pixels].sum()),
        "masks_that_differ": int((np.any(series != 0, axis=0) != kept)[pixels].sum()),
    }


def _read(path: Path, dataset: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[dataset][:].astype(np.float64)


class MintPyInversion:
    """MintPy's function on the pixels of a stack, in random order, a share at a time.

    Weighted it goes pixel by pixel, as MintPy does; unweighted, on complete networks, all pixels at once, which is
    its fastest. What MintPy needs to make weights of coherences is not counted against it.
    """

    def __init__(self, observations: Observations, settings: InversionSettings) -> None:
        self._settings = settings
        self._design = design(observations.network)
        phase = observations.phase_rad - observations.reference_phase_rad[:, None]
        observed = np.isfinite(phase).any(axis=0) & (phase != 0).any(axis=0)
        self._order = np.random.default_rng(1).permutation(np.flatnonzero(observed))
        self._phase, self._coherence = phase, observations.coherence
        self._results: dict[int, np.ndarray] = {}
        self._rates: list[float] = []
        self._taken, self._size = 0, 20

    @property
    def pixels(self) -> int:
        return self._order.size

    @property
    def done(self) -> int:
        """How many different pixels were inverted."""
        return len(self._results)

    @property
    def seconds(self) -> float:
        """For all pixels, from the median share."""
        return self.pixels * median(self._rates)

    @property
    def spread(self) -> float | None:
        return _spread(self._rates)

    def go_on(self) -> None:
        """Take a share of the pixels, large enough to be told from the clock's noise; all at once only once."""
        if self._settings.weight is Weight.NONE:
            if not self._rates:
                self._rates.append(self._take(self._order, at_once=True) / self.pixels)
            return
        while (seconds := self._take(self._next(), at_once=False)) < _SHARE_SECONDS:
            self._size = min(int(self._size * min(2 * _SHARE_SECONDS / seconds, 10)) + 1, self.pixels)
        self._rates.append(seconds / self._size)

    def _next(self) -> np.ndarray:
        """From the beginning again when all were taken."""
        self._taken += self._size
        return np.take(self._order, range(self._taken - self._size, self._taken), mode="wrap")

    def _take(self, pixels: np.ndarray, *, at_once: bool) -> float:
        """Invert some pixels; return the seconds."""
        values = self._phase[:, pixels].astype(np.float32)
        weights = self._weights(pixels)
        groups = [slice(None)] if at_once else [slice(k, k + 1) for k in range(pixels.size)]
        position, speed, intervals = self._design
        began = time.perf_counter()
        parts = [
            estimate_timeseries(
                position,
                speed,
                values[:, group],
                intervals,
                None if weights is None else weights[:, group],
                print_msg=False,
            )[0]
            for group in groups
        ]
        seconds = time.perf_counter() - began
        self._results |= dict(zip(pixels, np.concatenate(parts, axis=1).T, strict=True))
        return seconds

    def _weights(self, pixels: np.ndarray) -> np.ndarray | None:
        if self._settings.weight is Weight.NONE:
            return None
        squares = weigh(self._coherence[:, pixels], self._settings.weight, self._settings.looks)
        return np.sqrt(squares).astype(np.float32)

    def difference_mm(self, solution: Solution) -> float:
        """Largest difference to ours, where MintPy does not reject the pixel."""
        worst = 0.0
        for pixel, radians in self._results.items():
            if solution.redundant[pixel]:
                theirs = radians.astype(np.float64) * self._settings.metres_per_radian
                worst = max(worst, 1000 * float(np.abs(solution.los_m[:, pixel] - theirs).max()))
        return worst


def design(network: Network) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MintPy's design matrices of positions and of speeds, and its intervals in years, as a column."""
    intervals = np.diff((network.days / 365.25).astype(np.float32))
    position = np.zeros((network.n_pairs, network.n_epochs), np.float32)
    speed = np.zeros((network.n_pairs, network.n_epochs - 1), np.float32)
    for i, (a, b) in enumerate(zip(network.earlier, network.later, strict=True)):
        position[i, a], position[i, b] = -1, 1
        speed[i, a:b] = intervals[a:b]
    return position[:, 1:], speed, intervals.reshape(-1, 1)
