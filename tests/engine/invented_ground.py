"""An invented site whose truth is known: a trough over noise, with water, gaps and torn networks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid
from sagwatch.engine.geometry import Geometry
from sagwatch.engine.hyp3_attributes import WAVELENGTH_M, product_attributes
from sagwatch.engine.interferogram import Layers, StoredInterferogram
from sagwatch.engine.store import TrackStore

GRID = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=50, rows=60)
METRES_PER_RADIAN = -WAVELENGTH_M / (4 * np.pi)
PARAMETERS = {
    "Reference Granule": "S1_021697_IW3_20240111T103702_VV_AAAA-BURST",
    "Secondary Granule": "S1_021697_IW3_20240123T103702_VV_BBBB-BURST",
    "Reference Orbit Number": "60141",
    "Baseline": "33.9",
    "UTC time": "38222.201944",
    "Heading": "-13.3101122688203",
    "Spacecraft height": "693000.0",
    "Earth radius at nadir": "6370000.5",
    "Slant range near": "849199.1730339259",
    "Range looks": "20",
    "Azimuth looks": "4",
    "Unwrapping type": "snaphu_mcf",
}


@dataclass(frozen=True)
class Invented:
    """A store filled with interferograms, and the truth behind them."""

    store: TrackStore
    members: tuple[StoredInterferogram, ...]
    dates: tuple[date, ...]
    truth_m: NDArray[np.float64]
    phase_rad: NDArray[np.float32]
    reference: tuple[int, int]


def invent_dates(n_epochs: int, first: date = date(2023, 10, 31)) -> tuple[date, ...]:
    """Every 12 days with a missing acquisition now and then, across a turn of the year."""
    steps = [12 if i % 7 else 24 for i in range(1, n_epochs)]
    return tuple(first + timedelta(days=int(sum(steps[:i]))) for i in range(n_epochs))


def trough_m(
    shape: tuple[int, int], dates: tuple[date, ...], rate_m_yr: float = -0.15
) -> NDArray[np.float64]:
    """LOS displacement of a round trough that sinks steadily, shape (n_epochs, rows, columns), metres."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    bowl = np.exp(-((rows - shape[0] * 0.6) ** 2 + (columns - shape[1] * 0.6) ** 2) / (2 * 6.0**2))
    years = np.array([(day - dates[0]).days for day in dates]) / 365.25
    return rate_m_yr * years[:, None, None] * bowl


def invent_stack(
    folder: Path,
    n_epochs: int = 20,
    neighbours: int = 2,
    noise: float = 1.0,
    gaps: float = 0.04,
    seed: int = 7,
    grid: Grid = GRID,
    lost: tuple[int, int] | None = None,
) -> Invented:
    """Fill a store; ``noise`` scales the decorrelation noise, ``gaps`` is the share of zeroed observations.

    The pixel ``lost`` is seen by all acquisitions but the last one.
    """
    rng = np.random.default_rng(seed)
    dates = invent_dates(n_epochs)
    truth = trough_m(grid.shape, dates)
    reference = (grid.rows // 8, grid.columns // 8)
    store = TrackStore(folder, grid)
    water = np.zeros(grid.shape, np.bool_)
    water[-4:, :] = True
    mean_coherence = np.clip(rng.normal(0.6, 0.18, grid.shape), 0.05, 0.95)
    mean_coherence[water] = 0.05
    members, phases = [], []
    for a in range(n_epochs):
        for b in range(a + 1, min(a + neighbours, n_epochs - 1) + 1):
            coherence = np.clip(mean_coherence + rng.normal(0, 0.08, grid.shape), 0.02, 0.99)
            sigma = noise * np.sqrt((1 - coherence**2) / (2 * 41 * coherence**2))
            phase = (truth[b] - truth[a]) / METRES_PER_RADIAN + rng.normal(0, 1, grid.shape) * sigma
            phase += rng.uniform(-9, 9)
            hole = rng.random(grid.shape) < gaps
            if a in (5, 6):
                hole[20:24, 30:40] = True
            if b == n_epochs - 1:
                hole[40:44, 4:9] = True
            hole[:, :2] = True
            hole[reference] = False
            if lost is not None:
                hole[lost] = b == n_epochs - 1
            phase[hole] = 0.0
            layers = Layers.from_product(
                phase.astype(np.float32), coherence.astype(np.float32), (~hole).astype(np.int16)
            )
            identity = f"pair{a:02d}x{b:02d}"
            baseline = float(rng.normal(0, 60))
            name = f"S1_021697_IW3_{dates[a]:%Y%m%d}_{dates[b]:%Y%m%d}_VV_INT80_{len(members):04X}"
            parameters = {**PARAMETERS, "Baseline": str(baseline)}
            attributes = product_attributes(name, parameters, grid) | {"relative_orbit": "11"}
            digest = store.write_interferogram(identity, layers, attributes)
            members.append(StoredInterferogram(dates[a], dates[b], identity, digest, baseline))
            phases.append(layers.phase_rad)
    geometry = Geometry.from_product(
        dem=rng.normal(1100, 40, grid.shape),
        lv_theta=np.full(grid.shape, np.radians(90 - 41.5)),
        lv_phi=np.full(grid.shape, np.radians(-168.0)),
        water_mask=(~water).astype(np.uint8),
    )
    store.write_geometry(geometry, product_attributes(name, PARAMETERS, grid))
    return Invented(store, tuple(members), dates, truth, np.array(phases), reference)
