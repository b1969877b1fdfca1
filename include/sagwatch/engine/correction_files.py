"""The corrections of a revision as files: what was found, the mask that it was found with, and what is made of it.

::

    inputs/ERA5.h5 (GACOS.h5)   virtual: absolute delays, MintPy's; the maps lie in ../../../delays/; NaN without one
    maskRamp.h5                 ground that ramps and height correlation are fitted to
    corrections.h5              per epoch: baseline, slope of delay with height, ramp, hash of what they come from
    demErr.h5                   residual height, metres; NaN where it is unknown (MintPy writes 0)
    velocity.h5, velocityWindows.h5    from the corrected series

The mask is pinned: a pixel is coherent by the first `PINNED_EPOCHS` acquisitions alone, so it does not flicker with
each new one, and yet is a pure function of interferograms and settings. A younger record takes all that it has.

An update of 90,000 pixels and 240 epochs reads all of the series once more: some 0.4 s of one processor with the lines,
where the ramps of unchanged epochs are taken over, and 1 s where all are fitted anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from shapely import contains_xy, from_wkt, union_all

from sagwatch.domain.delay import StoredDelay
from sagwatch.domain.grid import Grid
from sagwatch.domain.ids import content_sha256
from sagwatch.engine.checks import Finding
from sagwatch.engine.corrections import Corrections, Known, Scene, Series, Terms, find_terms
from sagwatch.engine.delay_files import DELAY
from sagwatch.engine.files import sha256_of
from sagwatch.engine.interferogram import map_array, open_hdf5
from sagwatch.engine.manifest import (
    WHOLE_RECORD,
    Manifest,
    Sealed,
    check_delays,
    describe,
    settings_json,
    solved_with,
)
from sagwatch.engine.ramp import Ramp
from sagwatch.engine.revision_files import LINE_LAYERS, SOLUTION_TEMPLATE, create_view, open_file
from sagwatch.engine.sealed import read_block
from sagwatch.engine.stack import Stack
from sagwatch.engine.topography import MOST_EATEN, eaten_share
from sagwatch.engine.troposphere import Air, Maps
from sagwatch.engine.update import Base, Update, key_of, make_plan
from sagwatch.engine.velocity import Line, fit_windows
from sagwatch.errors import BadInputError, BadRevisionError

CORRECTIONS, MASK, HEIGHT_ERROR = "corrections.h5", "maskRamp.h5", "demErr.h5"
VELOCITIES = ("velocity.h5", "velocityWindows.h5")
PINNED_EPOCHS = 30
#: Beyond this share of the scene a ramp extrapolates.
MOST_EXCLUDED = 0.4
#: MintPy takes delays that name a reference for referenced ones, and these are not.
_REFERENCES = ("REF_DATE", "REF_Y", "REF_X", "REF_LAT", "REF_LON")


@dataclass(frozen=True)
class Correcting:
    """One revision's corrections while its folder is made aside; ``blocks`` are the sealed files of its series."""

    folder: Path
    track: Path
    grid: Grid
    update: Update
    blocks: Sequence[Sealed]
    delays: tuple[StoredDelay, ...]
    base: Base | None

    @property
    def corrections(self) -> Corrections:
        return self.update.settings.corrections

    def write(self) -> None:
        """Find the corrections, and write all files that come from them.

        Raises
        ------
        BadRevisionError
            A delay is missing, damaged or unknown at the reference pixel; no ground is left for a ramp.
        """
        dates, settings = self.update.stack.dates, self.update.settings
        known_before = set() if self.base is None else set(self.base.manifest.delays)
        check_delays(self.track, self.delays, hashes=False)
        check_delays(self.track, [one for one in self.delays if one not in known_before], hashes=True)
        mask, mask_key = self._mask() if self.corrections.needs_mask else (None, "")
        keys = self._keys(mask_key)
        stored = [read_block(self.track, block) for block in self.blocks]
        observed = Series(tuple(pairs for _, pairs in stored))
        lines = _LineFiles.open(self.folder, [WHOLE_RECORD.name, *(w.name for w in settings.windows)])

        def use(pixels: slice, los_m: NDArray[np.float64]) -> None:
            seen = observed.strip(pixels) > 0
            windows = [WHOLE_RECORD, *settings.windows]
            for name, line in fit_windows(dates, los_m.astype(np.float32), windows, seen).items():
                lines.fill(name, pixels, line)

        try:
            terms = find_terms(
                self.corrections,
                Series(tuple(los_m for los_m, _ in stored)),
                dates,
                _maps(self.track, self.delays, dates),
                self.update.stack.perpendicular_baselines_m[1],
                _scene(self.folder, self.update.reference.row, self.update.reference.column, mask),
                self._known(keys),
                use,
            )
        except BadInputError as problem:
            raise BadRevisionError(str(Finding(122, True, str(problem)))) from problem
        self._write(terms, mask, mask_key, keys)

    def _write(
        self, terms: Terms, mask: NDArray[np.bool_] | None, mask_key: str, keys: Sequence[str]
    ) -> None:
        template = self.folder / SOLUTION_TEMPLATE
        shape, dates = self.update.stack.shape, self.update.stack.dates
        days = np.array([f"{day:%Y%m%d}" for day in dates], dtype="S8")
        with h5py.File(self.folder / CORRECTIONS, "w", libver="latest") as file:
            file["date"], file["key"] = days, np.array(keys, dtype="S64")
            file["bperp"] = terms.perpendicular_m
            file["slope"] = np.zeros(len(dates)) if terms.air is None else terms.air.slopes
            if terms.ramps is not None:
                file["ramp"] = terms.ramps
            file.attrs["mask_key"] = mask_key
        if mask is not None:
            with open_file(template, self.folder / MASK, "mask", "1") as file:
                file.create_dataset("mask", data=mask.reshape(shape), track_times=False)
        if terms.residual_height_m is not None:
            with open_file(template, self.folder / HEIGHT_ERROR, "dem", "m") as file:
                file.create_dataset("dem", data=terms.residual_height_m.reshape(shape), track_times=False)
        if self.delays:
            path = self.folder / delay_file(self.corrections)
            with open_file(template, path, "timeseries", "m") as file:
                for name in _REFERENCES:
                    del file.attrs[name]
                number = {day: i for i, day in enumerate(dates)}
                sources = [(number[one.day], 1, f"../../../{one.name}") for one in self.delays]
                create_view(file, DELAY, (len(dates), *shape), np.float32, np.nan, sources)
                file["date"] = days

    def _mask(self) -> tuple[NDArray[np.bool_], str]:
        """The ground to fit to, flat, and the hash of all that it comes from."""
        update, stack = self.update, self.update.stack
        early = stack.until(stack.dates[PINNED_EPOCHS - 1]) if len(stack.dates) > PINNED_EPOCHS else stack
        key = content_sha256(
            [
                [
                    [day.isoformat() if hasattr(day, "isoformat") else day for day in key_of(m)]
                    for m in early.members
                ],
                solved_with(settings_json(update.settings)),
                [update.reference.row, update.reference.column],
                list(self.corrections.excluded),
            ]
        )
        if self.base is not None:
            folder = self.base.track / "revisions" / self.base.manifest.folder_name
            if (found := _intact(folder, self.base.manifest, MASK)) is not None:
                with open_hdf5(folder / CORRECTIONS) as file:
                    same = file.attrs["mask_key"] == key
                if same:
                    with open_hdf5(found) as file:
                        return file["mask"][:].reshape(-1), key
        if early is stack:
            with open_hdf5(self.folder / "temporalCoherence.h5") as file:
                coherence = file["temporalCoherence"][:]
        else:
            plan = make_plan(early, None, update.effort)
            begun = Update(plan, update.settings, update.reference, update.facts, update.effort)
            coherence = begun.in_memory().temporal_coherence
        with open_hdf5(self.folder / "inputs" / "geometryGeo.h5") as file:
            land = file["waterMask"][:].astype(bool)
        with np.errstate(invalid="ignore"):
            good = land & (coherence >= update.settings.min_temporal_coherence)
        return (good & ~inside(self.corrections.excluded, self.grid)).reshape(-1), key

    def _keys(self, mask_key: str) -> list[str]:
        """The hash of everything that an epoch's ramp and slope come from: where it is the same, so are they."""
        by_day = {one.day: one.sha256 for one in self.delays}
        air = [by_day.get(day, "") for day in self.update.stack.dates]
        places = list(
            chain.from_iterable([[block.name, i] for i in range(block.length)] for block in self.blocks)
        )
        rules = [mask_key, self.corrections.troposphere, self.corrections.missing, self.corrections.ramp]
        everything = content_sha256(air)
        near = [i for i, one in enumerate(air) if one and i > 0][:5]
        first = air[0] or (
            everything
            if self.corrections.missing == "mean"
            else content_sha256([[places[i], air[i]] for i in near])
        )
        return [
            content_sha256(
                [rules, place, first, one or (everything if self.corrections.missing == "mean" else "")]
            )
            for place, one in zip(places, air, strict=True)
        ]

    def _known(self, keys: Sequence[str]) -> dict[int, Known]:
        """What the base found out about epochs that are the same."""
        if self.base is None:
            return {}
        folder = self.base.track / "revisions" / self.base.manifest.folder_name
        path = _intact(folder, self.base.manifest, CORRECTIONS)
        if path is None:
            return {}
        with open_hdf5(path) as file:
            before = {key.decode(): i for i, key in enumerate(file["key"][:])}
            slopes = file["slope"][:]
            ramps = file["ramp"][:] if "ramp" in file else np.zeros((slopes.size, 0))
        return {
            number: Known(float(slopes[before[key]]), ramps[before[key]])
            for number, key in enumerate(keys)
            if key in before
        }


def read_terms(folder: Path, manifest: Manifest) -> Terms | None:
    """What a revision takes off its raw series; None where nothing is corrected."""
    corrections = manifest.corrections
    if not corrections.any:
        return None
    reference = manifest.reference
    mask = None
    if corrections.needs_mask:
        with open_hdf5(folder / MASK) as file:
            mask = file["mask"][:].reshape(-1)
    scene = _scene(folder, reference.row, reference.column, mask)
    with open_hdf5(folder / CORRECTIONS) as file:
        slopes, perpendicular_m = file["slope"][:], file["bperp"][:]
        ramps = file["ramp"][:] if "ramp" in file else None
    height = None
    if corrections.topography:
        with open_hdf5(folder / HEIGHT_ERROR) as file:
            height = file["dem"][:].reshape(-1)
    maps = _maps(folder.parent.parent, manifest.delays, manifest.epochs)
    by_height = corrections.troposphere == "height_correlation"
    air = None
    if by_height or maps.present:
        stand_in = "height_correlation" if by_height else corrections.missing
        air = Air(maps, stand_in, slopes, scene.height_m, scene.reference)
    ramp = Ramp(corrections.ramp, scene.shape, scene.reference) if corrections.ramp != "none" else None
    return Terms(scene, air, ramp, ramps, perpendicular_m, height)


def check_corrections(corrections: Corrections, stack: Stack, grid: Grid) -> list[Finding]:
    """Warn where a correction would take a trough for something else.

    Measured on a trough of the probability integral off the middle of a scene, with noise: a plane through a scene of
    which the trough fills 10, 25, 40 % eats 2, 5, 8 % of its maximum and tilts stable ground by 6, 16, 25 % of it; with
    the trough left out both stay below 0.3 %. What is left out must be known, so the plan must be there.
    """
    found = []
    if corrections.ramp != "none":
        share = float(inside(corrections.excluded, grid).mean())
        if not corrections.excluded:
            found.append(Finding(120, False, "ramps are on, and no panel of a mine plan is left out of them"))
        elif share > MOST_EXCLUDED:
            found.append(
                Finding(120, False, f"ramps are on, and moving ground fills {share:.0%} of the scene")
            )
    if corrections.topography:
        share = eaten_share(stack.dates, stack.perpendicular_baselines_m[1], corrections.polynomial_order)
        if share > MOST_EATEN:
            where = f"baselines resemble motion: up to {share:.0%} of a trough would be called height"
            found.append(Finding(121, False, where))
    return found


def delay_file(corrections: Corrections) -> str:
    """Where MintPy looks for the delays, in the revision's folder."""
    return f"inputs/{corrections.troposphere.upper()}.h5"


def inside(polygons: Sequence[str], grid: Grid) -> NDArray[np.bool_]:
    """Pixels of a grid whose middle lies in one of some polygons (WKT, metres of the grid), shape (rows, columns)."""
    if not polygons:
        return np.zeros(grid.shape, np.bool_)
    rows, columns = np.mgrid[: grid.rows, : grid.columns]
    x, y = grid.xy(rows.ravel(), columns.ravel())
    return np.asarray(contains_xy(union_all(from_wkt(list(polygons))), x, y)).reshape(grid.shape)


def _scene(folder: Path, row: int, column: int, mask: NDArray[np.bool_] | None) -> Scene:
    with open_hdf5(folder / "inputs" / "geometryGeo.h5") as file:
        height, incidence, slant_range = (
            file[name][:] for name in ("height", "incidenceAngle", "slantRangeDistance")
        )
    return Scene.of(height.shape, (row, column), height, incidence, slant_range, mask)


def _maps(track: Path, delays: Sequence[StoredDelay], dates: Sequence[Any]) -> Maps:
    by_day = {one.day: one for one in delays}
    return Maps(
        tuple(
            map_array(track / by_day[day].name, DELAY).reshape(-1) if day in by_day else None for day in dates
        )
    )


def _intact(folder: Path, manifest: Manifest, name: str) -> Path | None:
    """A file of the base, if it is there and what its hash says; otherwise it is found anew."""
    path = folder / name
    whole = path.is_file() and describe(path, sha256_of(path)) == manifest.files.get(name)
    return path if whole else None


@dataclass(frozen=True)
class _LineFiles:
    """The layers of all lines, mapped, to be filled in."""

    layers: dict[str, list[tuple[str, NDArray[Any]]]]

    @classmethod
    def open(cls, folder: Path, windows: Sequence[str]) -> _LineFiles:
        layers = {}
        for name in windows:
            whole = name == WHOLE_RECORD.name
            path, suffix = folder / VELOCITIES[0 if whole else 1], "" if whole else f"_{name}"
            layers[name] = [
                (attribute, map_array(path, dataset + suffix, writable=True).reshape(-1))
                for dataset, attribute, _ in LINE_LAYERS
            ]
        return cls(layers)

    def fill(self, name: str, pixels: slice, line: Line) -> None:
        for attribute, layer in self.layers[name]:
            layer[pixels] = getattr(line, attribute)
