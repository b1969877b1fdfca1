"""The simulated mine as the accuracy benchmark sees it: a stack of one track by Sagwatch's own reading, and the truth.

The simulator makes HyP3's zips, `product_zip` and `product_rasters` read them and `TrackStore` stores them: what is
solved is what a site would have. Only HTTP and the ledger are left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from shapely import LineString, contains_xy
from shapely.geometry.base import BaseGeometry

from sagwatch.adapters.product_rasters import clip_product
from sagwatch.adapters.product_zip import unpack_product
from sagwatch.domain.acquisition import Acquisition
from sagwatch.domain.grid import Grid
from sagwatch.domain.network import plan_network
from sagwatch.domain.stack_rules import CorrectionRules, NetworkRules
from sagwatch.engine.geometry import Geometry
from sagwatch.engine.hyp3_attributes import parse_parameters, product_attributes
from sagwatch.engine.interferogram import Layers, StoredInterferogram
from sagwatch.engine.manifest import RevisionSettings
from sagwatch.engine.store import TrackStore
from sagwatch.settings import ProductSettings
from sagwatch.simulation import air, ground, motion
from sagwatch.simulation.granule import Granule
from sagwatch.simulation.ground import vegetated_share
from sagwatch.simulation.interferogram import phase_bias_m
from sagwatch.simulation.orbit import slant_range_m
from sagwatch.simulation.passes import baseline_m
from sagwatch.simulation.scenario import Scenario, read_scenario
from sagwatch.simulation.world import Order, ScenarioWorld

PATH = 11
LOOKS = {80: (20, 4), 40: (10, 2), 20: (5, 1)}
#: The published study's network (docs/accuracy.md, T1 and T2); a gap in the record is bridged, as a site would have it.
NETWORK = NetworkRules(max_days=30, max_perpendicular_m=300, neighbours=2, bridge=True)
#: The scenario file's own seed, which everybody tunes with.
TUNING_SEED = 20170501
#: What can be taken away from the scenario, to find out what an error comes from.
DISTURBANCES = {
    "weather": {"weather": None},
    "ionosphere": {"ionosphere": None},
    "orbits": {"orbits": None},
    "bias": {"phase_bias": None},
    "topography": {"dem_error_m": 0.0},
}
TURBULENCE = "turbulence"

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Span:
    """Which acquisitions and which ground: ``box`` (west, south, east, north) is a part of the mine, None all of it."""

    first: date
    last: date
    pixel_m: int = 80
    box: tuple[float, float, float, float] | None = None
    platforms: tuple[str, ...] = ("S1A",)


def scenario_of(seed: int, without: Sequence[str] = ()) -> Scenario:
    """The mine with another seed, and without some disturbances.

    Raises
    ------
    ValueError
        The seed is the one for tuning, or there is no such disturbance.
    """
    if seed == TUNING_SEED:
        raise ValueError(f"seed {seed} is the one that the corrections are tuned with: score on another one")
    scenario = read_scenario("shaqu_mine").model_copy(update={"seed": seed})
    for name in without:
        if name == TURBULENCE:
            none = scenario.atmosphere.model_copy(update={"turbulent_mm_at_10_km": 0.0})
            scenario = scenario.model_copy(update={"atmosphere": none})
        elif name in DISTURBANCES:
            scenario = scenario.model_copy(update=DISTURBANCES[name])
        else:
            raise ValueError(f"no disturbance {name!r}; there are {', '.join((TURBULENCE, *DISTURBANCES))}")
    return scenario


@dataclass(frozen=True)
class SeenMine:
    """Acquisitions of the mine on a grid. A part of the mine is a mine of its own, with air of its own."""

    whole: Scenario
    span: Span

    @cached_property
    def scenario(self) -> Scenario:
        return self.whole if self.span.box is None else self.whole.model_copy(update={"box": self.span.box})

    @cached_property
    def grid(self) -> Grid:
        return ground.area(self.scenario, float(self.span.pixel_m))

    @cached_property
    def passes(self) -> dict[date, int]:
        """Number of the pass on each day."""
        return {
            one.day: one.number
            for one in self.scenario.track(PATH).passes()
            if self.span.first <= one.day <= self.span.last and one.platform in self.span.platforms
        }

    @property
    def dates(self) -> tuple[date, ...]:
        return tuple(self.passes)

    @cached_property
    def faces(self) -> list[BaseGeometry]:
        """The panels as a mine plan draws them, in metres of the grid."""
        to_metres = ground.to_utm(self.scenario.epsg).transform
        shapes = []
        for panel in self.scenario.panels:
            x, y = to_metres(panel.lon, panel.lat)
            length_m, azimuth = panel.face[-1].advanced_m, np.radians(panel.azimuth_deg)
            end = x + length_m * np.sin(azimuth), y + length_m * np.cos(azimuth)
            shapes.append(LineString([(x, y), end]).buffer(panel.width_m / 2, cap_style="flat"))
        return shapes

    def near_faces(self, metres: float) -> Bools:
        """Pixels within so many metres of a panel."""
        x, y = self.grid.xy(*np.indices(self.grid.shape))
        return np.logical_or.reduce([contains_xy(face.buffer(metres), x, y) for face in self.faces])

    @property
    def may_sink(self) -> Bools:
        """Ground that never counts as steady, and on which unwrapping errors are treated: near a panel."""
        return self.near_faces(CorrectionRules().exclude_around_faces_m)

    @property
    def settings(self) -> RevisionSettings:
        return RevisionSettings(*LOOKS[self.span.pixel_m])

    @cached_property
    def granules(self) -> Sequence[Granule]:
        return [
            granule
            for granule in ScenarioWorld(self.scenario).granules
            if granule.path == PATH and granule.acquired.date() in self.passes
        ]

    @cached_property
    def scene_bytes(self) -> dict[date, int]:
        """Size of the whole scene of each acquisition, as the catalogue says it."""
        scenes = [granule for granule in self.granules if not granule.is_burst]
        return {scene.acquired.date(): int(scene.attribute_values["BYTES"]) for scene in scenes}

    def pairs(self) -> list[tuple[date, date]]:
        """The pairs that Sagwatch would order."""
        acquisitions = [
            Acquisition(
                f"shaqu/t{PATH:03d}a",
                granule.acquired.date(),
                granule.acquired,
                granule.platform,
                (granule.name,),
                granule.baseline_m,
            )
            for granule in self.granules
            if granule.is_burst and granule.polarization == "VV"
        ]
        by_date = {one.date: one for one in acquisitions}  # a reprocessed one is the same acquisition
        return [(pair.reference, pair.secondary) for pair in plan_network(by_date.values(), NETWORK).pairs]

    def fill(self, folder: Path) -> tuple[TrackStore, list[StoredInterferogram]]:
        """Have every product made, read and stored; zips are deleted, as Sagwatch deletes them."""
        store = TrackStore(folder / "track", self.grid)
        world = ScenarioWorld(self.scenario)
        bursts = {
            granule.acquired.date(): granule.name
            for granule in reversed(world.granules)
            if granule.path == PATH and granule.is_burst and granule.polarization == "VV"
        }
        members = []
        for first, second in self.pairs():
            work = folder / "product"
            members.append(self._store(store, world, (bursts[first], bursts[second]), (first, second), work))
            shutil.rmtree(work)
        return store, members

    def _store(
        self,
        store: TrackStore,
        world: ScenarioWorld,
        bursts: tuple[str, str],
        days: tuple[date, date],
        work: Path,
    ) -> StoredInterferogram:
        in_range, in_azimuth = LOOKS[self.span.pixel_m]
        words = {
            "reference": [bursts[0]],
            "secondary": [bursts[1]],
            "looks": f"{in_range}x{in_azimuth}",
            "apply_water_mask": True,
        }
        made = world.make(Order("acc0acc0", "INSAR_ISCE_MULTI_BURST", words), work)
        (work / "layers").mkdir()
        product = unpack_product(made.file, work / "layers", ProductSettings())
        parameters = parse_parameters(product.parameters_text)
        layers = clip_product(product.layers, self.grid).layers
        attributes = product_attributes(product.name, parameters, self.grid) | {"relative_orbit": str(PATH)}
        name = f"{days[0]:%Y%m%d}{days[1]:%Y%m%d}"
        digest = store.write_interferogram(
            name, Layers.from_product(layers["unw_phase"], layers["corr"], layers.get("conncomp")), attributes
        )
        if not store.geometry_path.exists():
            water = (layers["water_mask"] == 1).astype(np.uint8)
            geometry = Geometry.from_product(layers["dem"], layers["lv_theta"], layers["lv_phi"], water)
            store.write_geometry(geometry, attributes)
        return StoredInterferogram(*days, name, digest, float(parameters["Baseline"]))

    # --- truth --------------------------------------------------------------------------------------------------------

    def truth_m(self, dates: Sequence[date], only: str | None = None) -> NDArray[np.float32]:
        """True LOS displacement since the first date, shape (n_dates, rows, columns), not referenced in space."""
        return np.stack(
            [
                motion.displacement_m(self.scenario, PATH, dates[0], day, self.grid, only).astype(np.float32)
                for day in dates
            ]
        )

    def sources(self) -> list[str]:
        """What moves, by name."""
        return motion.source_names(self.scenario)

    def disturbance_m(self, name: str, dates: Sequence[date]) -> NDArray[np.float32]:
        """What a disturbance feigns as motion since the first of the dates; shape (n_dates, rows, columns).

        ``topographic`` is the height model's error times the baseline; the others as in `simulation.air`.
        """

        def at(day: date) -> Floats:
            if name == "topographic":
                track = self.scenario.track(PATH)
                lever_m = slant_range_m(track.incidence_deg) * np.sin(np.radians(track.incidence_deg))
                baseline = baseline_m(self.scenario, PATH, self.passes[day])
                return baseline / lever_m * ground.dem_error_m(self.scenario, self.grid)
            return air.disturbance_m(self.scenario, name, PATH, day, self.grid)

        first = at(dates[0])
        return np.stack([(at(day) - first).astype(np.float32) for day in dates])

    def bias_m(self, dates: Sequence[date]) -> NDArray[np.float32]:
        """What the bias of short pairs feigns since the first date; shape (n_dates, rows, columns).

        It is no part of an acquisition: the history is that of all pairs with equal weights, so it is nearly, but not
        exactly, what the weighted solution contains.
        """
        number = {day: i for i, day in enumerate(dates)}
        pairs = self.pairs()
        design = np.zeros((len(pairs), len(dates)))
        for row, (first, second) in zip(design, pairs, strict=True):
            row[number[first]], row[number[second]] = -1, 1
        share = vegetated_share(self.scenario, self.grid)
        greenest = np.unravel_index(int(np.argmax(share)), share.shape)
        at_greenest = [phase_bias_m(self.scenario, *pair, self.grid)[greenest] for pair in pairs]
        history, *_ = np.linalg.lstsq(design[:, 1:], np.array(at_greenest), rcond=None)
        steps = np.concatenate([[0.0], history])[:, None, None]
        return (steps * share / share[greenest]).astype(np.float32)
