"""A revision corrects its series; what arrives late, what is taken over and what MintPy makes of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date

import h5py
import numpy as np
import pytest

from sagwatch.domain.delay import DelayState, StoredDelay
from sagwatch.engine.corrections import Corrections
from sagwatch.engine.delay_files import write_delay
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings, revision_id, verify
from sagwatch.engine.revision import read_revision, solve_past
from sagwatch.engine.store import TrackStore
from sagwatch.engine.velocity import fit_windows
from sagwatch.engine.window import Effort
from sagwatch.errors import BadRevisionError
from tests.engine.invented_ground import Invented, invent_stack

RAW = RevisionSettings(20, 4)
HOLE = "POLYGON ((481000 4136500, 482500 4136500, 482500 4135000, 481000 4135000, 481000 4136500))"
ALL = replace(RAW, corrections=Corrections("era5", "mean", "linear", True, 2, (HOLE,)))


def store_delays(
    invented: Invented, days: list[date], seed: int = 3, state=DelayState.FINAL
) -> dict[date, StoredDelay]:
    rng = np.random.default_rng(seed)
    height = invented.store.read_geometry().height_m
    found = {}
    for day in invented.dates:
        delay = 2.3 * np.exp(-height / 8000.0) * (1 + rng.normal(0, 0.01)) + rng.normal(
            0, 0.001, height.shape
        )
        if day in days:
            found[day] = write_delay(invented.store.folder, day, "ERA5", state, delay, {})
    return found


@pytest.fixture(scope="module")
def pattern(tmp_path_factory) -> Invented:
    return invent_stack(tmp_path_factory.mktemp("corrected") / "track", n_epochs=22)


@pytest.fixture
def invented(pattern, tmp_path) -> Invented:
    """A store of its own for each test, because the newest revision is what the next one takes up."""
    shutil.copytree(pattern.store.folder, tmp_path / "track")
    return replace(pattern, store=TrackStore(tmp_path / "track", pattern.store.grid))


def until(invented: Invented, number: int):
    last = invented.dates[number - 1]
    return [member for member in invented.members if member.secondary <= last]


def build(invented: Invented, number: int, members, settings, delays=None, **more):
    reference = ReferencePoint(*invented.reference)
    folder = invented.store.build_revision(number, members, settings, reference, delays=delays, **more)
    return read_revision(folder)


def largest_mm(one, other) -> float:
    assert np.array_equal(np.isnan(one), np.isnan(other))
    return 1000 * float(np.nanmax(np.abs(one.astype(float) - other)))


def test_delays_that_arrive_late_solve_nothing_again(invented):
    store = invented.store
    raw = build(invented, 1, invented.members, RAW)
    early = store_delays(invented, list(invented.dates[2:15]))
    some = build(invented, 2, invented.members, ALL, early)
    whole = build(invented, 3, invented.members, ALL, store_delays(invented, list(invented.dates)))
    scratch = build(
        invented, 4, invented.members, ALL, store_delays(invented, list(invented.dates)), from_scratch=True
    )

    assert raw.manifest.first_solved == 0
    assert some.manifest.first_solved >= 8
    assert some.manifest.series == raw.manifest.series == whole.manifest.series
    assert len({r.manifest.id for r in (raw, some, whole)}) == 3
    assert scratch.manifest.id == whole.manifest.id
    np.testing.assert_array_equal(raw.los_m(), whole.raw_los_m())
    assert largest_mm(some.los_m(), whole.los_m()) > 1
    assert largest_mm(whole.los_m(), scratch.los_m()) < 0.002
    with h5py.File(some.folder / "inputs" / "ERA5.h5") as file:
        assert np.isnan(file["timeseries"][0]).all()
        assert np.isfinite(file["timeseries"][2]).all()
        assert "REF_DATE" not in file.attrs
    verify(whole.folder)
    assert store.verify(some.folder.name).delays == tuple(early[day] for day in sorted(early))


def test_rows_and_velocities_are_of_the_corrected_series(invented):
    whole = build(invented, 3, invented.members, ALL, store_delays(invented, list(invented.dates)))

    los_m = whole.los_m()

    np.testing.assert_array_equal(whole.los_m(slice(20, 31)), los_m[:, 20:31])
    flat = los_m.reshape(los_m.shape[0], -1)
    lines = fit_windows(whole.epochs, flat, ALL.windows, whole.observed().reshape(flat.shape))
    window = lines["150d"].velocity_m_yr.reshape(los_m.shape[1:])
    np.testing.assert_allclose(whole.layers.lines["150d"].velocity_m_yr, window, atol=1e-7)
    assert np.nanmax(np.abs(whole.raw_los_m() - los_m)) > 0.005
    left = whole.los_m(topography=False) - los_m
    baselines = whole.terms.perpendicular_m
    feigned = np.multiply.outer(baselines, whole.terms.feigned().reshape(left.shape[1:]))
    assert np.nanmax(np.abs(left)) > 0.001
    np.testing.assert_allclose(left, np.where(np.isnan(los_m), np.nan, feigned), atol=1e-7)


def test_updates_one_by_one_are_the_batch(tmp_path):
    invented = invent_stack(tmp_path / "track", n_epochs=34)
    delays = store_delays(invented, [day for i, day in enumerate(invented.dates) if i not in (0, 9)])
    for number in range(25, 35):
        grown = build(invented, 100 + number, until(invented, number), ALL, delays)
    batch = build(invented, 200, invented.members, ALL, delays, from_scratch=True)

    assert grown.manifest.first_solved > 0
    assert largest_mm(grown.los_m(), batch.los_m()) < 0.002
    lines = (r.layers.lines["whole"].velocity_m_yr for r in (grown, batch))
    assert largest_mm(*lines) < 0.002


def test_what_was_found_of_old_epochs_is_taken_over(invented, monkeypatch):
    from sagwatch.engine import corrections

    delays = store_delays(invented, list(invented.dates))
    build(invented, 301, until(invented, 21), ALL, delays)
    asked = []
    real = corrections.Ramp.fitter

    def counting(self, mask):
        fit = real(self, mask)
        return lambda los_m: asked.append(1) or fit(los_m)

    monkeypatch.setattr(corrections.Ramp, "fitter", counting)
    monkeypatch.setattr("sagwatch.engine.correction_files.PINNED_EPOCHS", 15)
    build(invented, 302, until(invented, 21), replace(ALL, min_temporal_coherence=0.6), delays)
    assert len(asked) == 20
    asked.clear()
    again = build(invented, 303, invented.members, replace(ALL, min_temporal_coherence=0.6), delays)
    assert 0 < len(asked) <= 22 - again.manifest.first_solved
    scratch = build(
        invented, 304, invented.members, replace(ALL, min_temporal_coherence=0.6), delays, from_scratch=True
    )
    np.testing.assert_array_equal(again.terms.scene.mask, scratch.terms.scene.mask)


def test_a_past_solution_is_corrected_like_a_revision_of_that_day(invented):
    settings = replace(RAW, corrections=Corrections("era5", "mean", "none", True, 1))
    delays = store_delays(invented, list(invented.dates))
    day = invented.dates[14]
    whole = build(invented, 401, invented.members, settings, delays)
    then = build(invented, 400, until(invented, 15), settings, delays, from_scratch=True)

    past = solve_past(whole, invented.store.stack(invented.members), settings, day)

    assert past.dates == then.epochs
    assert largest_mm(past.los_m, then.los_m()) < 0.002


def test_the_mask_leaves_out_panels_water_and_what_is_not_coherent(invented):
    whole = build(invented, 3, invented.members, ALL, store_delays(invented, list(invented.dates)))
    with h5py.File(whole.folder / "maskRamp.h5") as file:
        mask = file["mask"][:]
    x, y = whole.grid.xy(*np.mgrid[: whole.grid.rows, : whole.grid.columns])
    hole = (x > 481000) & (x < 482500) & (y < 4136500) & (y > 4135000)
    assert not mask[hole].any()
    np.testing.assert_array_equal(
        mask[~hole], (whole.layers.land & (whole.layers.temporal_coherence >= 0.7))[~hole]
    )


def test_off_is_as_it_always_was(invented):
    off = replace(RAW, corrections=Corrections(missing="height_correlation"))
    members = invented.store.stack(invented.members).members
    delays = store_delays(invented, list(invented.dates[:3]))
    arguments = ReferencePoint(*invented.reference), invented.store.grid, "sha"
    assert revision_id(members, RAW, *arguments) == revision_id(members, off, *arguments, delays)
    preliminary = store_delays(invented, list(invented.dates[:3]), state=DelayState.PRELIMINARY)
    assert revision_id(members, ALL, *arguments, delays) != revision_id(members, ALL, *arguments, preliminary)
    gacos = replace(ALL, corrections=replace(ALL.corrections, troposphere="gacos"))
    assert revision_id(members, gacos, *arguments, delays) == revision_id(members, gacos, *arguments)


def test_a_damaged_delay_is_refused(tmp_path):
    small = invent_stack(tmp_path / "track", n_epochs=8)
    delays = store_delays(small, list(small.dates))
    path = small.store.folder / delays[small.dates[3]].name
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file["timeseries"][0, 0, 0] = 9
    with pytest.raises(BadRevisionError, match="damaged"):
        build(small, 1, small.members, ALL, delays)
    path.unlink()
    with pytest.raises(BadRevisionError, match="missing"):
        build(small, 1, small.members, ALL, delays)
    everywhere = replace(
        ALL, corrections=Corrections(ramp="linear", excluded=("POLYGON ((0 0, 9e6 0, 9e6 9e6, 0 9e6, 0 0))",))
    )
    with pytest.raises(BadRevisionError, match="E122"):
        build(small, 1, small.members, everywhere)
    assert Effort().block_epochs == 8
