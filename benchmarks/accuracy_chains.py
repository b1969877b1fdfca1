"""The two chains of the accuracy benchmark on the same stored interferograms: Sagwatch's engine, MintPy's programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from shapely import to_wkt

from benchmarks.accuracy_mine import SeenMine
from benchmarks.accuracy_mintpy import MASK, RAW, TROPOSPHERE, MintPyChain
from benchmarks.accuracy_scores import Pixel, referenced
from benchmarks.accuracy_weather import write_weather
from sagwatch.domain.blind_spots import Blind, blind_spots, record_steps
from sagwatch.domain.delay import DelayState, StoredDelay
from sagwatch.domain.site import AlertRules, CorrectionRules, DatumRules
from sagwatch.engine.corrections import CorrectionSettings
from sagwatch.engine.delay_files import write_delay
from sagwatch.engine.interferogram import StoredInterferogram, read_attributes
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.engine.reference import ReferenceRules, Surroundings, rank_references
from sagwatch.engine.revision import Revision
from sagwatch.engine.store import TrackStore
from sagwatch.steps.closure import misclosed

_ERA5 = CorrectionSettings(troposphere="era5")
_MINTPY = replace(_ERA5, topography_order=2)
_RAMP, _STEADY = {"ramp": "linear"}, {"refer_to": "steady_ground"}
#: What the bench counts as published, and the same with less of it. MintPy's chain has troposphere and topography.
PUBLISHED = "troposphere+ramp+topography+steady_ground"
VARIANTS: dict[str, CorrectionSettings | None] = {
    "none": None,
    "troposphere": _ERA5,
    "height_correlation": CorrectionSettings(troposphere="height_correlation"),
    "troposphere+topography": _MINTPY,
    "troposphere+ramp+topography": replace(_MINTPY, **_RAMP),
    "troposphere+topography+steady_ground": replace(_MINTPY, **_STEADY),
    PUBLISHED: replace(_MINTPY, **_RAMP, **_STEADY),
}

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
Delays = Mapping[date, StoredDelay]


@dataclass(frozen=True)
class Solved:
    """One chain's answer with some corrections: displacement since the first epoch, relative to the chain's datum.

    ``velocity_mm_yr`` and ``deviation_mm_yr`` are of the whole record, as the chain's own velocity.h5 has them;
    ``observed`` is None where the chain does not say which epochs a pixel really has (MintPy).
    """

    name: str
    los_m: Floats
    velocity_mm_yr: Floats
    deviation_mm_yr: Floats
    reliable: Mask
    flags: NDArray[np.uint8]
    temporal_coherence: Floats
    observed: Mask | None = None


@dataclass(frozen=True)
class Stack:
    """Stored interferograms and the pixel that both chains refer to."""

    mine: SeenMine
    store: TrackStore
    members: list[StoredInterferogram]
    reference: ReferencePoint

    @property
    def pixel(self) -> Pixel:
        return self.reference.row, self.reference.column


def make_stack(mine: SeenMine, folder: Path) -> Stack:
    """Have the interferograms made; the reference is what `steps/rank_references.py` ranks first for such a mine."""
    store, members = mine.fill(folder)
    geometry = store.read_geometry()
    around = Surroundings(
        geometry.land,
        mine.near_faces(DatumRules().draw_m),
        geometry.height_m - np.nanmedian(geometry.height_m),
    )
    rules = ReferenceRules(height_m=DatumRules().height_m)
    best = rank_references(store.stack(members), mine.settings.inversion, around, rules)[0]
    return Stack(mine, store, members, best.point)


# --- Sagwatch ---------------------------------------------------------------------------------------------------------


def solve_ours(stack: Stack, delays: Delays) -> dict[str, Solved]:
    """Sagwatch's answers, by what was corrected; those with ERA5 only where there are delays."""
    return {
        name: solve_one(stack, name, corrections, delays)
        for name, corrections in VARIANTS.items()
        if delays or corrections is None or corrections.troposphere != "era5"
    }


def solve_one(stack: Stack, name: str, corrections: CorrectionSettings | None, delays: Delays) -> Solved:
    """A revision of its own, read as it is published."""
    return read_ours(stack, name, build(stack, corrections, delays))


def build(stack: Stack, corrections: CorrectionSettings | None, delays: Delays) -> Revision:
    """One more revision of the track; the panels are excluded from steady ground as a site's faces are."""
    if corrections is not None:
        around_m = CorrectionRules().exclude_around_faces_m
        areas = tuple(to_wkt(face.buffer(around_m), rounding_precision=1) for face in stack.mine.faces)
        corrections = replace(corrections, excluded=areas)
    settings = replace(stack.mine.settings, corrections=corrections)
    number = 1 + sum(1 for _ in stack.store.revisions.glob("*-*"))
    folder = stack.store.build_revision(number, stack.members, settings, stack.reference, delays=delays)
    return stack.store.read_revision(folder.name)


def read_ours(stack: Stack, name: str, revision: Revision) -> Solved:
    layers, los_m, observed = revision.layers, revision.los_m(), revision.observed()
    steps = record_steps(revision.epochs, np.where(observed, 1000 * los_m, np.nan), layers.land)
    flags = blind_spots(
        steps,
        AlertRules().blind.step_share,
        has_data=observed[-1],
        reliable=layers.reliable,
        land=layers.land,
        contradicted=misclosed(stack.store.stack(stack.members), revision.epochs[-1]),
    )
    line = layers.lines["whole"]
    return Solved(
        name=name,
        los_m=los_m,
        velocity_mm_yr=1000 * line.velocity_m_yr,
        deviation_mm_yr=1000 * line.velocity_std_m_yr,
        reliable=layers.reliable & layers.land,
        flags=flags,
        temporal_coherence=layers.temporal_coherence,
        observed=observed,
    )


def store_delays(
    stack: Stack, days: Sequence[date], delays_m: Floats, state: DelayState = DelayState.FINAL
) -> dict[date, StoredDelay]:
    """Delays by PyAPS, shape (n_days, rows, columns), as `fetch_weather` stores them."""
    return {
        day: write_delay(stack.store.folder, day, "era5", state, delay_m, {"MODEL": "ERA5"})
        for day, delay_m in zip(days, delays_m, strict=True)
    }


# --- MintPy -----------------------------------------------------------------------------------------------------------


def solve_mintpy(
    stack: Stack, revision: Revision, pixels: Mask, folder: Path
) -> tuple[MintPyChain, dict[str, Solved]]:
    """MintPy's answers on some pixels after each step of its standard chain; the last one is its result."""
    chain = MintPyChain.on(revision.folder, folder / "mintpy", pixels)
    attributes = read_attributes(chain.folder / RAW)
    steps = {"none": RAW}
    if stack.mine.scenario.weather is not None:
        chain.troposphere(
            write_weather(stack.mine.scenario, stack.mine.dates, attributes, folder / "weather")
        )
        steps["troposphere"] = TROPOSPHERE
    last = chain.topography(steps[list(steps)[-1]])
    steps["+".join([*list(steps)[1:], "topography"])] = last
    chain.residual_rms()
    reliable = chain.read(MASK, "mask") > 0
    agreement = chain.read("temporalCoherence.h5", "temporalCoherence")
    found = {}
    for name, file in steps.items():
        velocity, deviation = chain.velocity(file)
        found[name] = Solved(
            name=name,
            los_m=referenced(chain.read(file, "timeseries"), stack.pixel),
            velocity_mm_yr=1000 * velocity,
            deviation_mm_yr=1000 * deviation,
            reliable=reliable,
            flags=np.where(reliable, Blind.NONE, Blind.INCOHERENT).astype(np.uint8),
            temporal_coherence=agreement,
        )
    return chain, found
