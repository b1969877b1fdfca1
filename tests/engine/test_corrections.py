"""Corrections give an invented truth back, and are MintPy's own to a hundredth of a millimetre."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pytest
from mintpy.objects import deramp

from sagwatch.domain.delay import DelayState
from sagwatch.engine import corrections
from sagwatch.engine.correction_files import STEADY, read_corrections, read_scene
from sagwatch.engine.corrections import Corrections, CorrectionSettings, Scene, estimate, without_topography
from sagwatch.engine.delay_files import write_delay
from sagwatch.engine.interferogram import open_hdf5
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings, read_manifest, verify
from sagwatch.engine.mintpy_corrections import compare_corrections, corrected_name
from sagwatch.engine.mintpy_process import run_program
from sagwatch.engine.mintpy_programs import compare_with_mintpy, export_mintpy
from sagwatch.engine.revision import read_revision, solve_past
from sagwatch.errors import BadInputError, BadRevisionError
from sagwatch.steps.audit_track import problems_of
from tests.engine.invented_ground import GRID, invent_stack

SHAPE = (40, 50)
ALL = slice(None)


@dataclass(frozen=True)
class World:
    """An invented record: what truly moved, and all that feigns motion."""

    dates: tuple[date, ...]
    motion_m: np.ndarray
    delay_m: np.ndarray
    ramp_m: np.ndarray
    height_error_m: np.ndarray
    baselines_m: np.ndarray
    scene: Scene

    @property
    def seen_m(self) -> np.ndarray:
        """As an inversion would find it: relative to the first epoch and the reference pixel."""
        sine = np.sin(np.radians(self.scene.incidence_deg))
        feigned = self.height_error_m / (self.scene.slant_range_m * sine)
        total = self.motion_m + self.delay_m + self.ramp_m + self.baselines_m[:, None, None] * feigned
        return self.referenced(total)

    def referenced(self, field_m: np.ndarray) -> np.ndarray:
        relative = field_m - field_m[0]
        at = relative[:, self.scene.row, self.scene.column]
        return (relative - at[:, None, None]).astype(np.float32)

    def delay_of(self, *without: int):
        return lambda epoch, rows: None if epoch in without else self.delay_m[epoch, rows]


@pytest.fixture
def world() -> World:
    rng = np.random.default_rng(3)
    n_epochs = 30
    dates = tuple(date(2020, 1, 4) + timedelta(days=12 * i) for i in range(n_epochs))
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    height = 900 + 8.0 * rows + 60 * np.sin(columns / 5) * np.cos(rows / 7)
    incidence = 41.0 + 0.01 * columns
    years = 12 * np.arange(n_epochs)[:, None, None] / 365.25
    bowl = np.exp(-((rows - 25) ** 2 + (columns - 30) ** 2) / 40.0)
    path = height / np.cos(np.radians(incidence))
    # Delays are 2 to 3 m in all, and differ by centimetres over the heights of the scene.
    delay = -(2.4 + rng.normal(0, 0.1, (n_epochs, 1, 1)) - rng.normal(3e-4, 6e-5, (n_epochs, 1, 1)) * path)
    tilt = rng.normal(0, 2e-4, (n_epochs, 2, 1, 1))
    baselines = rng.normal(0, 60, n_epochs)
    baselines[0] = 0
    steady = np.hypot(rows - 25, columns - 30) > 16
    return World(
        dates,
        -0.1 * years * bowl,
        delay,
        tilt[:, 0] * rows + tilt[:, 1] * columns,
        rng.normal(0, 8, SHAPE),
        baselines,
        Scene(height, incidence, np.full(SHAPE, 850e3), steady, 5, 6),
    )


def corrected(world: World, settings: CorrectionSettings, *without: int) -> tuple[Corrections, np.ndarray]:
    found, los_m = estimate(
        world.dates, world.seen_m, world.delay_of(*without), world.baselines_m, world.scene, settings
    )
    return found, without_topography(los_m, ALL, found)


def test_everything_that_feigns_motion_is_taken_away_and_the_motion_is_left(world):
    settings = CorrectionSettings(troposphere="era5", ramp="linear", topography_order=2)

    found, los_m = corrected(world, settings)

    # The ramp sees a little of the bowl, which reaches everywhere.
    np.testing.assert_allclose(los_m, world.referenced(world.motion_m), rtol=0, atol=1e-4)
    relative = world.height_error_m - world.height_error_m[world.scene.row, world.scene.column]
    np.testing.assert_allclose(found.height_error_m(world.scene), relative, rtol=0, atol=1.0)


@pytest.mark.parametrize(
    "settings",
    [
        CorrectionSettings(troposphere="era5"),
        CorrectionSettings(ramp="quadratic"),
        CorrectionSettings(topography_order=2),
        CorrectionSettings(troposphere="height_correlation"),
    ],
)
def test_each_part_works_by_itself(world, settings):
    part = {"era5": "delay_m", "height_correlation": "delay_m", "none": "ramp_m"}[settings.troposphere]
    quiet = {"delay_m": np.zeros(()), "ramp_m": np.zeros(()), "height_error_m": np.zeros(SHAPE)}
    kept = "height_error_m" if settings.topography_order else part
    flat = replace(world, **{name: np.zeros_like(getattr(world, name)) for name in quiet if name != kept})

    _, los_m = corrected(flat, settings)

    truth = flat.referenced(flat.motion_m)
    np.testing.assert_allclose(los_m, truth, rtol=0, atol=2e-4)
    assert np.abs(flat.seen_m - truth).max() > 0.002, "there was something to correct"


def test_an_epoch_without_delay_lies_where_an_average_one_lies(world):
    flat = replace(world, ramp_m=0 * world.ramp_m, height_error_m=0 * world.height_error_m)
    settings = CorrectionSettings(troposphere="era5")

    _, los_m = corrected(flat, settings, 11)

    truth = flat.referenced(flat.motion_m)
    others = [epoch for epoch in range(30) if epoch != 11]
    np.testing.assert_allclose(los_m[others], truth[others], rtol=0, atol=2e-6)
    average = np.delete(flat.delay_m, 11, axis=0).mean(axis=0)
    off = flat.delay_m[11] - average
    expected = truth[11] + off - off[flat.scene.row, flat.scene.column]
    np.testing.assert_allclose(los_m[11], expected, rtol=0, atol=2e-6)


def test_without_the_delay_of_the_first_epoch_no_velocity_is_bent(world):
    flat = replace(world, ramp_m=0 * world.ramp_m, height_error_m=0 * world.height_error_m)

    _, los_m = corrected(flat, CorrectionSettings(troposphere="era5"), 0)

    between = np.diff(los_m[1:], axis=0)
    np.testing.assert_allclose(
        between, np.diff(flat.referenced(flat.motion_m)[1:], axis=0), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("without", [(11,), (0,), (0, 11)])
def test_height_stands_in_for_a_delay_that_is_missing(world, without):
    flat = replace(world, ramp_m=0 * world.ramp_m, height_error_m=0 * world.height_error_m)
    settings = CorrectionSettings(troposphere="era5", missing="height_correlation")

    found, los_m = corrected(flat, settings, *without)

    np.testing.assert_allclose(los_m, flat.referenced(flat.motion_m), rtol=0, atol=3e-4)
    assert np.isfinite(found.height_slope[list(without)]).all()


def test_no_delay_at_all_changes_nothing(world):
    _, los_m = corrected(world, CorrectionSettings(troposphere="era5"), *range(30))

    np.testing.assert_array_equal(los_m, world.seen_m)


def test_what_nothing_has_seen_yet_is_not_corrected_and_tilts_no_ramp(world):
    seen = world.seen_m
    seen[1, 30:, :20] = 0.0
    settings = CorrectionSettings(troposphere="era5", ramp="linear")

    found, los_m = estimate(world.dates, seen, world.delay_of(), world.baselines_m, world.scene, settings)

    assert (los_m[1, 30:, :20] == 0).all(), "not the delay of an acquisition that did not see it"
    whole, _ = corrected(world, settings)
    np.testing.assert_allclose(found.ramp[1, :2], whole.ramp[1, :2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", ["linear", "quadratic"])
def test_the_ramp_of_a_very_large_scene_is_mintpys(shape):
    rows, columns = np.mgrid[:1100, :1050]
    field = 0.02 * (rows / 1100) + 0.03 * (columns / 1050) ** 2
    los_m = np.stack([0 * field, field + np.random.default_rng(4).normal(0, 0.01, field.shape)])
    los_m -= los_m[:, 5, 6][:, None, None]
    flat, steady = np.ones(field.shape), columns > 40
    scene = Scene(900 * flat, 41 * flat, 850e3 * flat, steady, 5, 6)
    days = [date(2024, 1, 1), date(2024, 1, 13)]
    settings = CorrectionSettings(ramp=shape)

    _, ours = estimate(days, los_m.astype(np.float32), lambda *_: None, np.zeros(2), scene, settings)

    place = {"REF_Y": 5, "REF_X": 6}
    theirs, _ = deramp(los_m[1].astype(np.float32), steady, shape, metadata=place)
    np.testing.assert_allclose(ours[1], theirs, rtol=0, atol=1e-6)


def test_a_ramp_without_a_mask_would_eat_the_trough(world):
    wide = (
        -0.2
        * np.exp(-((np.mgrid[:40, :50][0] - 20) ** 2 + (np.mgrid[:40, :50][1] - 25) ** 2) / 120.0)
        * np.linspace(0, 1, 30)[:, None, None]
    )
    flat = replace(world, motion_m=wide, delay_m=0 * world.delay_m, height_error_m=0 * world.height_error_m)
    everywhere = replace(flat, scene=replace(flat.scene, steady=np.ones(SHAPE, np.bool_)))
    edges = np.abs(wide[-1]) < 0.002
    masked = replace(flat, scene=replace(flat.scene, steady=edges))
    settings = CorrectionSettings(ramp="quadratic")

    truth = flat.referenced(wide)
    eaten = np.abs(corrected(everywhere, settings)[1] - truth).max()
    kept = np.abs(corrected(masked, settings)[1] - truth).max()

    assert eaten > 0.05
    assert kept < 0.01


@pytest.mark.parametrize("ramp", ["none", "linear", "quadratic"])
def test_the_air_over_the_reference_is_in_nothing_that_refers_to_steady_ground(world, ramp):
    spoilt = world.seen_m - np.random.default_rng(8).normal(0, 0.01, len(world.dates))[:, None, None]
    spoilt -= spoilt[0]
    settings = CorrectionSettings(ramp=ramp, refer_to="steady_ground")

    def answer(seen_m):
        found, los_m = estimate(
            world.dates, seen_m.astype(np.float32), world.delay_of(), world.baselines_m, world.scene, settings
        )
        rows = corrections.apply(seen_m[:, 7:9], slice(7, 9), world.delay_of(), found, world.scene, settings)
        np.testing.assert_allclose(rows, los_m[:, 7:9], rtol=0, atol=1e-7)
        return los_m

    steady_mean = answer(spoilt)[:, world.scene.steady].mean(axis=1)
    np.testing.assert_allclose(steady_mean, 0, atol=1e-5)
    # 10 mm went in; the reference pixel itself, an exact zero before, now counts as steady ground.
    np.testing.assert_allclose(answer(spoilt)[1:], answer(world.seen_m)[1:], rtol=0, atol=2e-4)


def test_too_little_steady_ground_is_refused_and_says_so(world):
    lonely = np.zeros(SHAPE, np.bool_)
    lonely[:5, :5] = True
    poor = replace(world, scene=replace(world.scene, steady=lonely))

    with pytest.raises(BadInputError, match=r"at no acquisition.*25 pixels are steady"):
        corrected(poor, CorrectionSettings(ramp="linear"))


@pytest.mark.parametrize("missing", ["mean", "height_correlation"])
def test_an_acquisition_that_sees_no_steady_ground_lies_where_an_average_one_lies(world, missing):
    seen = world.seen_m
    seen[8, world.scene.steady] = np.nan
    settings = CorrectionSettings(troposphere="era5", missing=missing, ramp="linear")

    found, los_m = estimate(world.dates, seen, world.delay_of(8), world.baselines_m, world.scene, settings)

    assert list(np.flatnonzero(found.stood_in)) == [8]
    others = [epoch for epoch in range(1, 30) if epoch != 8]
    np.testing.assert_allclose(found.ramp[8], found.ramp[others].mean(axis=0), rtol=1e-12)
    bowl = np.isfinite(los_m[8])
    average = -(world.delay_m[[*others, 0]].mean(axis=0) - world.delay_m[0])
    expected = seen[8] + world.referenced(np.stack([0 * average, average]))[1]
    coefficients = found.ramp[8]
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    surface = coefficients[0] * (rows - world.scene.row) + coefficients[1] * (columns - world.scene.column)
    np.testing.assert_allclose(los_m[8][bowl], (expected - surface)[bowl], rtol=0, atol=3e-6)


def test_correlation_with_height_has_an_average_too(world):
    seen = world.seen_m
    seen[8, world.scene.steady] = np.nan
    settings = CorrectionSettings(troposphere="height_correlation")

    found, _ = estimate(world.dates, seen, lambda *_: None, world.baselines_m, world.scene, settings)

    others = [epoch for epoch in range(1, 30) if epoch != 8]
    assert found.height_slope[8] == pytest.approx(found.height_slope[others].mean())
    assert list(np.flatnonzero(found.stood_in)) == [8]


def test_a_hole_in_the_height_model_is_unknown_and_not_zero(world):
    delay = world.delay_m.copy()
    delay[:, 10, 10] = np.nan
    holed = replace(world, delay_m=np.where(np.isnan(delay), 0, delay))

    _, los_m = estimate(
        world.dates,
        holed.seen_m,
        lambda epoch, rows: delay[epoch, rows],
        world.baselines_m,
        world.scene,
        CorrectionSettings(troposphere="era5"),
    )

    assert np.isnan(los_m[1:, 10, 10]).all()
    assert np.isfinite(np.delete(los_m.reshape(30, -1), 10 * 50 + 10, axis=1)).all()


def test_a_hole_at_the_reference_is_not_told_as_a_lack_of_steady_ground(world):
    height = world.scene.height_m.copy()
    height[world.scene.row, world.scene.column] = np.nan
    holed = replace(world, scene=replace(world.scene, height_m=height))

    with pytest.raises(corrections.NoDelayAtReferenceError, match="has no height to follow"):
        corrected(holed, CorrectionSettings(troposphere="height_correlation"))


def test_topography_waits_until_it_can_be_told_from_noise(world):
    short = corrections.LEAST_TOPOGRAPHY_EPOCHS - 1
    assert corrections.topography_row(world.dates[:short], world.baselines_m[:short], 2) is None
    assert corrections.topography_row(world.dates, np.zeros(30), 2) is None
    assert corrections.topography_row(world.dates, world.baselines_m, 2) is not None


# --- revisions


@dataclass(frozen=True)
class Corrected:
    invented: object
    delays: dict
    settings: RevisionSettings


EVERYTHING = CorrectionSettings(troposphere="era5", ramp="linear", topography_order=2)


@pytest.fixture(scope="module")
def track(tmp_path_factory) -> Corrected:
    invented = invent_stack(tmp_path_factory.mktemp("corrected") / "track", n_epochs=24)
    rng = np.random.default_rng(5)
    height = invented.store.read_geometry().height_m
    delays = {}
    for day in invented.dates:
        delay = -(2.4 + rng.normal(0, 0.1) - rng.normal(3e-4, 6e-5) * height)
        delays[day] = write_delay(invented.store.folder, day, "era5", DelayState.FINAL, delay, {"A": "1"})
    return Corrected(invented, delays, RevisionSettings(20, 4, corrections=EVERYTHING))


def build(track: Corrected, number: int, settings: RevisionSettings, delays=None, members=None):
    reference = ReferencePoint(*track.invented.reference)
    folder = track.invented.store.build_revision(
        number, members or track.invented.members, settings, reference, delays=delays or {}
    )
    return read_revision(folder)


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (10, EVERYTHING),
        (11, CorrectionSettings(troposphere="height_correlation")),
        (12, CorrectionSettings(ramp="quadratic")),
        (13, CorrectionSettings(topography_order=3)),
        (14, replace(EVERYTHING, refer_to="steady_ground")),
    ],
)
def test_mintpys_own_programs_correct_alike(track, tmp_path, number, wanted):
    revision = build(track, number, replace(track.settings, corrections=wanted), track.delays)

    found = compare_corrections(revision, tmp_path)

    assert found.pixels > 1000
    assert found.displacement_max_mm < 0.001
    assert found.velocity_max_mm_yr < 0.001
    assert np.nanmax(np.abs(revision.los_m() - revision.raw_los_m())) > 1e-4
    assert found.height_error_max_m is None or found.height_error_max_m < 0.05


def test_a_missing_delay_has_its_stand_in_in_the_comparison(track, tmp_path):
    delays = {day: delay for day, delay in track.delays.items() if day != track.invented.dates[-1]}
    revision = build(track, 20, track.settings, delays)

    assert compare_corrections(revision, tmp_path).displacement_max_mm < 0.001


def test_a_final_delay_makes_a_new_revision_and_nothing_is_solved_again(track):
    first = build(track, 30, track.settings, track.delays)
    day = track.invented.dates[3]
    better = write_delay(
        track.invented.store.folder,
        day,
        "era5",
        DelayState.FINAL,
        np.random.rand(*GRID.shape) - 2.4,
        {"A": "2"},
    )

    second = build(track, 31, track.settings, {**track.delays, day: better})

    assert second.manifest.id != first.manifest.id
    assert second.manifest.series == first.manifest.series, "the solver's blocks are the same files"
    moved = (
        np.nanmax(np.abs(second.los_with_topography_m() - first.los_with_topography_m()), axis=(1, 2)) > 1e-4
    )
    assert [track.invented.dates[i] for i in np.flatnonzero(moved)] == [day]
    np.testing.assert_array_equal(second.raw_los_m(), first.raw_los_m())


def test_switching_corrections_on_or_off_solves_nothing_again(track):
    plain = build(track, 40, replace(track.settings, corrections=None))
    assert not (plain.folder / STEADY).exists()
    np.testing.assert_array_equal(plain.los_m(), plain.raw_los_m())

    on = build(track, 41, track.settings, track.delays)

    assert on.manifest.series == plain.manifest.series
    assert on.manifest.id != plain.manifest.id


def test_the_audit_looks_at_the_corrections_too(track):
    revision = build(track, 45, track.settings, track.delays)

    found = compare_with_mintpy(revision.folder)

    assert found.whole_max_mm < 0.002, "the inversion is compared uncorrected"
    assert found.velocity_max_mm_yr < 0.01
    assert 0 < found.corrected.displacement_max_mm < 0.001
    assert "corrected displacement" in found.table()
    wrong = replace(found.corrected, displacement_max_mm=0.5)
    assert problems_of(found) == ()
    assert "corrected displacement by up to 0.5000 mm" in problems_of(replace(found, corrected=wrong))[0]


def test_an_export_has_the_corrected_series_under_mintpys_name(track, tmp_path):
    revision = build(track, 46, track.settings, track.delays)

    target = export_mintpy(revision.folder, tmp_path / "out")

    with open_hdf5(target / "timeseries_ERA5_ramp_demErr.h5") as file:
        np.testing.assert_array_equal(file["timeseries"][:], revision.los_m())
    with open_hdf5(target / "inputs" / "ERA5.h5") as file:
        assert np.isfinite(file["timeseries"][:]).all(), "it stands alone"
    run_program("info", ["timeseries_ERA5_ramp_demErr.h5"], target)
    assert (target / "demErr.h5").exists()


def test_an_export_that_refers_to_steady_ground_names_no_pixel(track, tmp_path):
    settings = replace(track.settings, corrections=CorrectionSettings(refer_to="steady_ground"))
    revision = build(track, 47, settings)

    target = export_mintpy(revision.folder, tmp_path / "out")

    with open_hdf5(target / "timeseries_steady.h5") as file:
        np.testing.assert_array_equal(file["timeseries"][:], revision.los_m())
        assert "REF_Y" not in file.attrs
    with open_hdf5(target / "timeseries.h5") as file:
        assert "REF_Y" in file.attrs


def test_rows_by_themselves_are_the_rows_of_the_whole(track):
    revision = build(track, 50, track.settings, track.delays)

    np.testing.assert_allclose(revision.los_m(slice(7, 19)), revision.los_m()[:, 7:19], rtol=0, atol=1e-7)


def test_the_velocity_file_is_the_line_through_the_corrected_series(track):
    revision = build(track, 60, track.settings, track.delays)

    los_m, years = (
        revision.los_m(),
        np.array([day.year + (day.timetuple().tm_yday - 1) / 365.25 for day in revision.epochs]),
    )
    known = np.isfinite(los_m).all(axis=0) & np.isfinite(revision.layers.lines["whole"].velocity_m_yr)
    slope = np.polyfit(years - years[0], los_m[:, known].astype(np.float64), 1)[0]
    np.testing.assert_allclose(revision.layers.lines["whole"].velocity_m_yr[known], slope, rtol=0, atol=1e-6)


def test_the_past_is_corrected_by_what_it_knew_of_itself(track):
    revision = build(track, 70, track.settings, track.delays)
    stack = track.invented.store.stack(track.invented.members)
    day = track.invented.dates[21]
    then = [member for member in track.invented.members if member.secondary <= day]

    past = solve_past(revision, stack, track.settings, day)

    delays = {d: delay for d, delay in track.delays.items() if d <= day}
    fresh = build(track, 71, track.settings, delays, then)
    scene, own = read_scene(revision.folder, revision.manifest), read_scene(fresh.folder, fresh.manifest)
    same = np.array_equal(scene.steady, own.steady)
    np.testing.assert_allclose(past.los_m, fresh.los_m(), rtol=0, atol=1e-6 if same else 1e-3)


def test_a_lost_or_changed_delay_is_noticed(track):
    revision = build(track, 80, track.settings, track.delays)
    verify(revision.folder)
    path = track.invented.store.folder / track.delays[track.invented.dates[2]].name
    content = path.read_bytes()
    path.chmod(0o644)
    try:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BadRevisionError, match="the delay of"):
            verify(revision.folder)
        path.unlink()
        with pytest.raises(BadRevisionError, match="the delay of"):
            read_revision(revision.folder)
    finally:
        path.write_bytes(content)


def test_the_manifest_says_which_delay_each_epoch_had(track):
    revision = build(track, 90, track.settings, track.delays)

    manifest = read_manifest(revision.folder)
    assert {delay.day: delay for delay in manifest.delays} == track.delays
    with open_hdf5(revision.folder / "corrections.h5") as file:
        assert set(file["delay_state"][:]) == {b"final"}
    with open_hdf5(revision.folder / "inputs" / "ERA5.h5") as file:
        assert file["timeseries"].shape == (24, *GRID.shape)
        assert np.isfinite(file["timeseries"][:]).all()
    assert read_corrections(revision.folder).ramp.shape == (24, 3)
    assert corrected_name(EVERYTHING) == "timeseries_ERA5_ramp_demErr.h5"
