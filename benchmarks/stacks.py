"""Synthetic stacks on the disk, as Sagwatch stores interferograms.

Bowls that sink, a season, smooth air, decorrelation noise by coherence, a strip of water; with gaps, what has little
coherence and patches of each pair are missing. A shorter record is the beginning of the longest one, and a network of
fewer neighbours a part of the one with the most, so one stack serves many cases.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid
from sagwatch.engine.geometry import Geometry
from sagwatch.engine.hyp3_attributes import product_attributes
from sagwatch.engine.interferogram import Layers, StoredInterferogram
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.engine.store import TrackStore

REPEAT_DAYS = 12
RANGE_LOOKS, AZIMUTH_LOOKS = 20, 4
_INDEPENDENT_LOOKS = 41
_BASELINE_M = 33.9
_LIST = "members.json"
_PARAMETERS = {
    "Reference Granule": "S1_021697_IW3_20240111T103702_VV_AAAA-BURST",
    "Secondary Granule": "S1_021697_IW3_20240123T103702_VV_BBBB-BURST",
    "Reference Orbit Number": "60141",
    "Baseline": str(_BASELINE_M),
    "UTC time": "38222.201944",
    "Heading": "-13.3101122688203",
    "Spacecraft height": "693000.0",
    "Earth radius at nadir": "6370000.5",
    "Slant range near": "849199.1730339259",
    "Range looks": str(RANGE_LOOKS),
    "Azimuth looks": str(AZIMUTH_LOOKS),
    "Unwrapping type": "snaphu_mcf",
}

Field = NDArray[np.float64]


@dataclass(frozen=True)
class Extent:
    """A field of ``side`` x ``side`` pixels, laid ``down`` x ``across`` times side by side."""

    side: int
    down: int = 1
    across: int = 1

    @property
    def grid(self) -> Grid:
        rows, columns = self.side * self.down, self.side * self.across
        return Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=columns, rows=rows)

    def fill(self, field: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.tile(field, (self.down, self.across))


@dataclass(frozen=True)
class Case:
    """A part of a stack: its first epochs, each paired with so many following ones."""

    epochs: int
    neighbours: int
    gaps: bool

    @property
    def name(self) -> str:
        return f"{self.epochs} epochs, {self.neighbours} neighbours, {'gaps' if self.gaps else 'complete'}"


@dataclass(frozen=True)
class Track:
    """A stack on the disk."""

    store: TrackStore
    members: tuple[StoredInterferogram, ...]
    reference: ReferencePoint

    @cached_property
    def dates(self) -> tuple[date, ...]:
        return tuple(sorted({day for member in self.members for day in (member.reference, member.secondary)}))

    def pairs(self, case: Case, last_epoch: int | None = None) -> list[StoredInterferogram]:
        """The interferograms of a case, as they were when ``last_epoch`` was the newest acquisition."""
        newest = self.dates[case.epochs - 1 if last_epoch is None else last_epoch]
        longest = timedelta(days=REPEAT_DAYS * case.neighbours)
        return [
            member
            for member in self.members
            if member.secondary <= newest and member.secondary - member.reference <= longest
        ]

    def forget_solutions(self) -> None:
        """Delete everything but interferograms and geometry."""
        kept = {self.store.interferograms, self.store.geometry_path.parent}
        for path in self.store.folder.iterdir():
            if path.is_dir() and path not in kept:
                shutil.rmtree(path)


def make_track(
    folder: Path, extent: Extent, epochs: int, neighbours: int, *, gaps: bool, seed: int = 1
) -> Iterator[tuple[int, int]]:
    """Make a stack, interferogram by interferogram; tell how many of how many are made. `open_track` opens it."""
    rng = np.random.default_rng(seed)
    store = TrackStore(folder, extent.grid)
    dates = [date(2016, 1, 1) + timedelta(days=REPEAT_DAYS * i) for i in range(epochs)]
    pairs = [(a, b) for a in range(epochs) for b in range(a + 1, min(a + neighbours, epochs - 1) + 1)]
    motion, coherence = _motion(rng, extent.side, epochs), _mean_coherence(rng, extent.side)
    water = _rows_and_columns(extent.side)[0] > 0.95
    reference = _reference(extent)
    members = []
    for number, (a, b) in enumerate(pairs):
        phase, quality = _observe(rng, motion[b] - motion[a], coherence, gaps=gaps)
        phase[water] = 0.0
        phase[reference.row, reference.column] = rng.uniform(1, 2)
        name = f"S1_021697_IW3_{dates[a]:%Y%m%d}_{dates[b]:%Y%m%d}_VV_INT80_{number:04X}"
        layers = Layers.from_product(extent.fill(phase), extent.fill(quality))
        attributes = product_attributes(name, _PARAMETERS, extent.grid)
        digest = store.write_interferogram(f"{number:032x}", layers, attributes)
        members.append([dates[a].isoformat(), dates[b].isoformat(), f"{number:032x}", digest, _BASELINE_M])
        yield number + 1, len(pairs)
    flat = np.full(extent.grid.shape, 0.8)
    land = extent.fill((~water).astype(np.uint8))
    store.write_geometry(Geometry.from_product(100 * flat, flat, -3 * flat, land), attributes)
    (folder / _LIST).write_text(json.dumps(members))


def open_track(folder: Path, extent: Extent) -> Track:
    """Open a stack that `make_track` made, perhaps in another process."""
    members = tuple(
        StoredInterferogram(date.fromisoformat(a), date.fromisoformat(b), name, digest, baseline)
        for a, b, name, digest, baseline in json.loads((folder / _LIST).read_text())
    )
    return Track(TrackStore(folder, extent.grid), members, _reference(extent))


def _reference(extent: Extent) -> ReferencePoint:
    return ReferencePoint(extent.side // 8, extent.side // 8)


def _rows_and_columns(side: int) -> tuple[Field, Field]:
    rows, columns = np.mgrid[:side, :side] / side
    return rows, columns


def _motion(rng: np.random.Generator, side: int, epochs: int) -> list[Field]:
    """Phase of each epoch without noise, radians."""
    rows, columns = _rows_and_columns(side)
    bowl = np.exp(-((rows - 0.6) ** 2 + (columns - 0.55) ** 2) / 0.01)
    years = np.arange(epochs) * REPEAT_DAYS / 365.25
    return [14.0 * year * bowl + 1.5 * np.sin(2 * np.pi * year) * rows + _smooth(rng, side) for year in years]


def _mean_coherence(rng: np.random.Generator, side: int) -> Field:
    return np.clip(0.6 + 0.25 * _smooth(rng, side), 0.15, 0.95)


def _observe(
    rng: np.random.Generator, motion: Field, mean_coherence: Field, *, gaps: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Phase and coherence of a pair; 0 is no data."""
    shape = motion.shape
    coherence = np.clip(mean_coherence + rng.normal(0, 0.05, shape), 0.05, 0.98)
    noise = rng.normal(0, 1, shape) * np.sqrt((1 - coherence**2) / (2 * _INDEPENDENT_LOOKS * coherence**2))
    phase = motion + noise + rng.uniform(-9, 9)
    if gaps:
        phase[(coherence < 0.3) | (_smooth(rng, shape[0]) > 1.6)] = 0.0
    return phase.astype(np.float32), coherence.astype(np.float32)


def _smooth(rng: np.random.Generator, side: int) -> Field:
    """A smooth random field of mean 0 and standard deviation 1."""
    spectrum = np.fft.rfft2(rng.normal(size=(side, side)))
    distance = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]) * side + 1.0
    field = np.fft.irfft2(spectrum / distance**2, (side, side))
    return (field - field.mean()) / field.std()
