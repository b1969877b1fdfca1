"""Corrections on arrays: invented truths come back, and MintPy's own programs say the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from sagwatch.engine.corrections import Corrections, Scene, correct
from sagwatch.engine.mintpy_programs import run_program
from sagwatch.engine.topography import eaten_share, row_of_height
from sagwatch.engine.velocity import mintpy_years
from sagwatch.errors import BadInputError
from tests.engine.invented_ground import invent_dates

SHAPE = 70, 61
REFERENCE = 9, 7
TOLERANCE_M = 1e-5


@dataclass(frozen=True)
class World:
    """A trough under air, orbits and a wrong height model; metres, shapes (n_epochs, rows, columns)."""

    dates: tuple[date, ...]
    trough: NDArray[np.float64]
    delays: NDArray[np.float64]
    ramps: NDArray[np.float64]
    height_error: NDArray[np.float64]
    baselines: NDArray[np.float32]
    height: NDArray[np.float32]
    incidence: NDArray[np.float32]
    slant_range: NDArray[np.float32]
    mask: NDArray[np.bool_]

    @property
    def scene(self) -> Scene:
        return Scene.of(SHAPE, REFERENCE, self.height, self.incidence, self.slant_range, self.mask)

    @property
    def lever(self) -> NDArray[np.float64]:
        return 1.0 / (self.slant_range.astype(float) * np.sin(np.radians(self.incidence.astype(float))))

    def seen(self, *parts: NDArray[np.float64]) -> NDArray[np.float32]:
        """A sum of sources as the inversion gives it: against the first epoch and the reference pixel."""
        total = np.sum(parts, axis=0)
        total = total - total[:, REFERENCE[0], REFERENCE[1]][:, None, None]
        return (total - total[0]).astype(np.float32)

    @property
    def topography(self) -> NDArray[np.float64]:
        return self.baselines[:, None, None] * (self.lever * self.height_error)


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(11)
    dates = invent_dates(34)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    years = np.array([(day - dates[0]).days for day in dates]) / 365.25
    bowl = np.exp(-((rows - 45) ** 2 + (columns - 38) ** 2) / (2 * 5.0**2))
    height = 1100 + 120 * np.sin(rows / 9.0) + 80 * np.cos(columns / 7.0)
    scale = rng.normal(2.3, 0.02, len(dates))
    delays = scale[:, None, None] * np.exp(-height / 8000.0)
    delays += rng.normal(0, 0.004, len(dates))[:, None, None] * np.sin(columns / 20.0)
    slopes = rng.normal(0, 2e-4, (2, len(dates)))
    ramps = slopes[0][:, None, None] * rows + slopes[1][:, None, None] * columns
    return World(
        dates,
        -0.2 * years[:, None, None] * bowl,
        delays,
        ramps,
        rng.normal(0, 8, SHAPE),
        np.concatenate([[0], rng.normal(0, 70, len(dates) - 1)]).astype(np.float32),
        height.astype(np.float32),
        (35 + columns / 20.0).astype(np.float32),
        (8.4e5 + 900.0 * columns).astype(np.float32),
        bowl < 0.001,
    )


def write_mintpy(
    folder: Path, world: World, los_m: NDArray[np.floating], delays: NDArray[np.floating]
) -> None:
    """What MintPy's programs read: a series, ERA5's delays (absolute), the geometry, a mask."""
    plain = {
        "LENGTH": SHAPE[0],
        "WIDTH": SHAPE[1],
        "PROCESSOR": "hyp3",
        "UNIT": "m",
        "CENTER_LINE_UTC": 38222.2,
    }
    referenced = plain | {
        "REF_Y": REFERENCE[0],
        "REF_X": REFERENCE[1],
        "REF_DATE": f"{world.dates[0]:%Y%m%d}",
    }
    series = (("timeseries.h5", los_m, referenced), ("ERA5.h5", delays, plain))
    for name, array, attributes in series:
        with h5py.File(folder / name, "w") as file:
            file["timeseries"] = array.astype(np.float32)
            file["date"] = np.array([f"{day:%Y%m%d}" for day in world.dates], dtype="S8")
            file["bperp"] = world.baselines
            file.attrs.update(
                {key: str(value) for key, value in (attributes | {"FILE_TYPE": "timeseries"}).items()}
            )
    with h5py.File(folder / "geometryGeo.h5", "w") as file:
        file["height"], file["incidenceAngle"] = world.height, world.incidence
        file["slantRangeDistance"] = world.slant_range
        file.attrs.update({key: str(value) for key, value in (plain | {"FILE_TYPE": "geometry"}).items()})
    with h5py.File(folder / "mask.h5", "w") as file:
        file["mask"] = world.mask
        file.attrs.update({key: str(value) for key, value in (plain | {"FILE_TYPE": "mask"}).items()})


def mintpys(path: Path, dataset: str = "timeseries") -> NDArray[np.float64]:
    with h5py.File(path) as file:
        return file[dataset][:].astype(float)


def largest(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    return float(np.abs(one.astype(float) - other).max())


def test_each_part_and_the_whole_are_mintpys(tmp_path, world):
    noise = np.random.default_rng(2).normal(0, 0.003, world.delays.shape)
    los = world.seen(world.trough, world.delays, world.ramps, world.topography, noise)
    write_mintpy(tmp_path, world, los, world.delays)
    run_program("diff", ["timeseries.h5", "ERA5.h5", "-o", "a.h5", "--force"], tmp_path)
    run_program("remove_ramp", ["a.h5", "-m", "mask.h5", "-s", "linear", "-o", "b.h5"], tmp_path)
    run_program("dem_error", ["b.h5", "-g", "geometryGeo.h5", "-p", "2", "-o", "c.h5"], tmp_path)
    run_program("remove_ramp", ["timeseries.h5", "-m", "mask.h5", "-s", "quadratic", "-o", "d.h5"], tmp_path)
    run_program(
        "dem_error",
        ["timeseries.h5", "-g", "geometryGeo.h5", "-p", "1", "-o", "e.h5", "--dem-err-file", "e_dem.h5"],
        tmp_path,
    )
    hand = ["timeseries.h5", "-g", "geometryGeo.h5", "-m", "mask.h5", "-o", "f.h5"]
    run_program("tropo_phase_elevation", hand, tmp_path)
    wanted = {
        "a.h5": Corrections(troposphere="era5"),
        "b.h5": Corrections(troposphere="era5", ramp="linear"),
        "c.h5": Corrections(troposphere="era5", ramp="linear", topography=True),
        "d.h5": Corrections(ramp="quadratic"),
        "e.h5": Corrections(topography=True, polynomial_order=1),
        "f.h5": Corrections(troposphere="height_correlation"),
    }
    maps = list(world.delays.astype(np.float32))
    gaps = {}
    for name, corrections in wanted.items():
        ours, terms = correct(corrections, los, world.dates, maps, world.baselines, world.scene)
        gaps[name] = 1000 * largest(ours, mintpys(tmp_path / name))
        assert largest(ours, los) > 0.001, "something was corrected at all"
        if name == "c.h5":
            assert (
                largest(terms.residual_height_m.reshape(SHAPE), mintpys(tmp_path / "demErr.h5", "dem")) < 0.05
            )
    print(gaps)  # noqa: T201  for whoever runs it with -s
    assert max(gaps.values()) < 1000 * TOLERANCE_M


def test_an_invented_delay_ramp_and_height_error_are_found(world):
    corrections = Corrections(troposphere="era5", ramp="linear", topography=True)
    los = world.seen(world.trough, world.delays, world.ramps, world.topography)

    ours, terms = correct(corrections, los, world.dates, list(world.delays), world.baselines, world.scene)

    truth = world.seen(world.trough)
    rows = world.ramps[:, 1, 0] - world.ramps[0, 1, 0]
    np.testing.assert_allclose(terms.ramps[:, 0], rows, atol=2e-6)
    lever = world.lever / world.lever[REFERENCE]
    error = terms.residual_height_m.reshape(SHAPE) - (
        world.height_error - world.height_error[REFERENCE] / lever
    )
    # What is left is what the plane took of 4000 height errors of 8 m each.
    assert np.abs(error).max() < 1.0
    assert 1000 * largest(ours, truth) < 0.6
    assert 1000 * largest(los, truth) > 30


def test_an_epoch_without_delay_lies_where_an_average_one_lies(world):
    los = world.seen(world.trough, world.delays)
    maps = list(world.delays)
    for missing in (0, 13):
        some = [None if number == missing else one for number, one in enumerate(maps)]
        mean = np.mean([one for one in some if one is not None], axis=0)
        filled = [mean if one is None else one for one in some]

        ours, terms = correct(
            Corrections(troposphere="era5"), los, world.dates, some, world.baselines, world.scene
        )
        whole, _ = correct(
            Corrections(troposphere="era5"), los, world.dates, filled, world.baselines, world.scene
        )

        np.testing.assert_allclose(ours, whole, atol=1e-8)
        for number in (1, missing, 20):
            row = terms.air.strip(slice(None))[number]
            np.testing.assert_allclose(terms.air.difference(number), row, atol=1e-12)
        others = [k for k in range(1, len(maps)) if k != missing]
        if missing:
            assert largest(ours[others], world.seen(world.trough)[others]) < 1e-6
    nothing, terms = correct(
        Corrections(troposphere="era5"), los, world.dates, [None] * len(maps), world.baselines, world.scene
    )
    np.testing.assert_array_equal(nothing, los)
    assert terms.air is None


@pytest.mark.parametrize("missing", [0, 13])
def test_heights_tell_what_a_missing_delay_was(world, missing):
    rng = np.random.default_rng(3)
    air = rng.normal(0, 2e-4, len(world.dates))[:, None, None] * (world.scene.height_m.reshape(SHAPE))
    some = [None if number == missing else one for number, one in enumerate(air)]
    los = world.seen(world.trough, air)
    corrections = Corrections(troposphere="era5", missing="height_correlation")

    ours, terms = correct(corrections, los, world.dates, some, world.baselines, world.scene)
    mean, _ = correct(Corrections(troposphere="era5"), los, world.dates, some, world.baselines, world.scene)

    truth = world.seen(world.trough)
    assert terms.air.slopes[missing] == pytest.approx(
        air[missing, 3, 3] / terms.scene.height_m.reshape(SHAPE)[3, 3], rel=0.01
    )
    assert largest(ours, truth) < 1e-4
    assert largest(mean, truth) > 1e-3


def test_a_pixel_that_is_seen_late_is_corrected_by_its_own_epochs(world):
    los = world.seen(world.topography, world.trough)
    late = los.copy()
    late[:6, 30:33, 20] = np.nan
    late[:31, 50, 50] = np.nan
    corrections = Corrections(topography=True, polynomial_order=1)

    ours, terms = correct(corrections, late, world.dates, [None] * len(los), world.baselines, world.scene)
    whole, all_terms = correct(corrections, los, world.dates, [None] * len(los), world.baselines, world.scene)

    assert np.isnan(ours[:6, 30:33, 20]).all()
    assert largest(ours[6:, 30:33, 20], whole[6:, 30:33, 20]) < 1e-3
    found = terms.residual_height_m.reshape(SHAPE)
    assert np.isnan(found[50, 50]), "three epochs tell nothing"
    np.testing.assert_array_equal(ours[31:, 50, 50], late[31:, 50, 50])
    assert np.isfinite(found).sum() == found.size - 1
    assert all_terms.residual_height_m is not None


def test_a_ramp_is_fitted_beside_the_trough_and_not_through_it(world):
    los = world.seen(world.trough * 5, world.ramps)
    masked, _ = correct(
        Corrections(ramp="linear"), los, world.dates, [None] * 34, world.baselines, world.scene
    )
    naked = replace(world.scene, mask=np.ones(SHAPE[0] * SHAPE[1], bool))
    through, _ = correct(Corrections(ramp="linear"), los, world.dates, [None] * 34, world.baselines, naked)

    truth = world.seen(world.trough * 5)
    assert 1000 * largest(masked, truth) < 0.5
    assert 1000 * largest(through, truth) > 20


def test_a_reference_pixel_without_delay_is_refused(world):
    maps = list(world.delays.copy())
    maps[4] = np.where(np.arange(SHAPE[1]) == REFERENCE[1], np.nan, maps[4])
    los = world.seen(world.trough)
    with pytest.raises(BadInputError, match="epoch 4"):
        correct(Corrections(troposphere="era5"), los, world.dates, maps, world.baselines, world.scene)
    nowhere = replace(world.scene, mask=np.zeros(SHAPE[0] * SHAPE[1], bool))
    with pytest.raises(BadInputError, match="coherent"):
        correct(Corrections(ramp="linear"), los, world.dates, [None] * 34, world.baselines, nowhere)


def test_baselines_that_drift_with_time_would_eat_a_trough(world):
    rng = np.random.default_rng(5)
    years = mintpy_years(world.dates)
    quiet = rng.normal(0, 60, years.size)
    drifting = 60 * np.sin(years * 4) + rng.normal(0, 6, years.size)

    assert eaten_share(world.dates, drifting, 2) > 2 * eaten_share(world.dates, quiet, 2)
    assert eaten_share(world.dates[:3], quiet[:3], 2) == 0.0
    row = row_of_height(years, quiet, 2)
    np.testing.assert_allclose(row @ (quiet * 3 + 5 - 2 * years + years**2), 3.0, rtol=1e-9)
