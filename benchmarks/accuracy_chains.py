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
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.blind_spots import Blind, blind_spots, record_steps
from sagwatch.domain.delay import DelayState, StoredDelay
from sagwatch.domain.stack_rules import CorrectionRules, DatumRules
from sagwatch.engine.closure_files import Phases
from sagwatch.engine.corrections import CorrectionSettings
from sagwatch.engine.delay_files import write_delay
from sagwatch.engine.faults import Attribution, decide
from sagwatch.engine.interferogram import StoredInterferogram, read_attributes, read_layers
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.engine.reference import ReferenceRules, Surroundings, rank_references
from sagwatch.engine.revision import Revision
from sagwatch.engine.store import TrackStore
from sagwatch.steps.closure import misclosed


@dataclass(frozen=True)
class Variant:
    """What is corrected; ``masked``: with what `corrections.unwrapping.closure: mask` leaves of the interferograms."""

    corrections: CorrectionSettings | None = None
    masked: bool = False


_ERA5 = CorrectionSettings(troposphere="era5")
_MINTPY = replace(_ERA5, topography_order=2)
_ALL = replace(_MINTPY, ramp="linear", refer_to="steady_ground")
#: What the bench counts as published, and the same with less of it. MintPy's chain has troposphere and topography.
PUBLISHED = "unwrapping+troposphere+ramp+topography+steady_ground"
VARIANTS = {
    "none": Variant(),
    "unwrapping": Variant(masked=True),
    "troposphere": Variant(_ERA5),
    "height_correlation": Variant(CorrectionSettings(troposphere="height_correlation")),
    "troposphere+topography": Variant(_MINTPY),
    "troposphere+ramp+topography": Variant(replace(_MINTPY, ramp="linear")),
    "troposphere+topography+steady_ground": Variant(replace(_MINTPY, refer_to="steady_ground")),
    "troposphere+ramp+topography+steady_ground": Variant(_ALL),
    PUBLISHED: Variant(_ALL, masked=True),
}

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
Delays = Mapping[date, StoredDelay]


@dataclass(frozen=True)
class Solved:
    """One chain's answer with some corrections: displacement since the first epoch, relative to the chain's datum.

    ``velocity_mm_yr`` and ``deviation_mm_yr`` are of the whole record, as the chain's own velocity.h5 has them;
    ``observed`` is None where the chain does not say which epochs a pixel really has (MintPy); ``pairs`` are the dates
    of the interferograms.
    """

    name: str
    los_m: Floats
    velocity_mm_yr: Floats
    deviation_mm_yr: Floats
    reliable: Mask
    flags: NDArray[np.uint8]
    temporal_coherence: Floats
    observed: Mask | None = None
    pairs: tuple[tuple[date, date], ...] = ()


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
    masked = replace(stack, members=without_wrong_cycles(stack))
    found = {}
    for name, variant in VARIANTS.items():
        if variant.corrections is None or variant.corrections.troposphere != "era5" or delays:
            stands = masked if variant.masked else stack
            # Contradictions are looked for in the originals, as at publication.
            found[name] = read_ours(stack, name, build(stands, variant.corrections, delays))
    return found


def without_wrong_cycles(stack: Stack) -> list[StoredInterferogram]:
    """The interferograms as `steps/repair_unwrapping.py` leaves them by the rule ``mask``."""
    ids = {(one.reference, one.secondary): one.id for one in stack.members}
    phases = Phases(stack.store.interferograms, *stack.pixel)
    land = stack.store.read_geometry().land
    attribution = Attribution(ids, lambda triangle: phases.cycles_on_land(triangle, ids, land))
    where, stand = stack.mine.may_sink, []
    for one in stack.members:
        treatment = decide(attribution, (one.reference, one.secondary), "mask", 1, where)
        if treatment is not None and treatment.changes:
            source, name = stack.store.interferogram_path(one.id), f"{one.id}masked"
            layers = read_layers(source)
            layers = replace(layers, phase_rad=treatment.apply(layers.phase_rad))
            digest = stack.store.write_interferogram(name, layers, read_attributes(source))
            stand.append(replace(one, id=name, sha256=digest))
        else:
            stand.append(one)
    return stand


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
        pairs=tuple((one.reference, one.secondary) for one in stack.members),
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
