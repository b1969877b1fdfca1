"""MintPy's standard chain on the very interferograms that Sagwatch solved: its own programs, its own default settings.

The steps of `smallbaselineApp.py` after loading, with the defaults of its template: no network changes, no unwrapping
correction, weighted inversion, ERA5 by PyAPS, no ramp, topographic residual, the date with the least residual as
reference date, dates with a large residual left out of the velocity. The reference pixel is Sagwatch's, and only a
sample of the pixels is inverted: each is by itself, and all would take MintPy most of an hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.mintpy_process import run_program
from sagwatch.engine.mintpy_programs import export_mintpy

RAW, TROPOSPHERE = "timeseries.h5", "timeseries_ERA5.h5"
GEOMETRY, DELAYS = "inputs/geometryGeo.h5", "inputs/ERA5.h5"
MASK, WATER = "maskTempCoh.h5", "waterMask.h5"
EXCLUDED, QUIETEST = "exclude_date.txt", "reference_date.txt"


@dataclass(frozen=True)
class MintPyChain:
    """A folder in which MintPy works."""

    folder: Path

    @classmethod
    def on(cls, revision: Path, folder: Path, pixels: NDArray[np.bool_]) -> MintPyChain:
        """Copy a revision's interferograms to a plain MintPy folder and invert some pixels; the rest is 0."""
        chain = cls(export_mintpy(revision, folder))
        with h5py.File(chain.folder / WATER, "r+") as file:
            file["waterMask"][:] = file["waterMask"][:] & pixels
        chain._run("ifgram_inversion", "inputs/ifgramStack.h5", "-w", "var", "-m", WATER)
        chain._run("generate_mask", "temporalCoherence.h5", "-m", "0.7", "-o", MASK)
        return chain

    def troposphere(self, weather: Path) -> None:
        """Correct with the GRIBs in ``weather``/ERA5, named as MintPy names them."""
        words = ["-f", RAW, "-g", GEOMETRY, "-m", "ERA5", "-w", str(weather)]
        self._run("tropo_pyaps3", *words, "--tropo-file", DELAYS, "-o", TROPOSPHERE)

    def topography(self, series: str) -> str:
        """Estimate the topographic residual beside a quadratic motion; return the corrected series."""
        result = series.replace(".h5", "_demErr.h5")
        self._run("dem_error", series, "-g", GEOMETRY, "-p", "2", "-o", result)
        return result

    def residual_rms(self) -> None:
        """Have MintPy find the dates that are too noisy for a velocity, and the quietest one."""
        self._run("timeseries_rms", "timeseriesResidual.h5", "-r", "quadratic", "-m", MASK, "--cutoff", "3")

    def velocity(self, series: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The whole record's velocity without the noisy dates, and its standard deviation, m/yr."""
        excluded = ["--exclude", EXCLUDED] if self.excluded else []
        result = series.replace("timeseries", "velocity")
        self._run("timeseries2velocity", series, "-o", result, *excluded)
        return self.read(result, "velocity"), self.read(result, "velocityStd")

    def difference(self, one: str, other: str, result: str) -> NDArray[np.float32]:
        """MintPy's own subtraction of two series, by force where dates are missing, as its corrections do it."""
        self._run("diff", one, other, "-o", result, "--force")
        return self.read(result, "timeseries")

    def read(self, name: str, dataset: str) -> NDArray[np.float32]:
        with h5py.File(self.folder / name) as file:
            return file[dataset][:]

    @property
    def excluded(self) -> tuple[str, ...]:
        """The dates that MintPy leaves out of the velocity."""
        path = self.folder / EXCLUDED
        return tuple(path.read_text().split()) if path.exists() else ()

    @property
    def quietest(self) -> date:
        """The date that MintPy would have its displacements refer to."""
        return date.fromisoformat((self.folder / QUIETEST).read_text().strip())

    def without(self, days: Sequence[date], name: str) -> str:
        """Delays as MintPy has them when the GRIBs of some dates could not be had: they are simply not in the file."""
        lost = [f"{day:%Y%m%d}".encode() for day in days]
        with h5py.File(self.folder / DELAYS) as every, h5py.File(self.folder / name, "w") as some:
            kept = ~np.isin(every["date"][:], lost)
            some["date"], some["timeseries"] = every["date"][kept], every["timeseries"][:][kept]
            for key, value in every.attrs.items():
                some.attrs[key] = value
        return name

    def delays_of(self, days: Sequence[date], hour: str, weather: Path, name: str) -> NDArray[np.float32]:
        """Delays of some dates from another folder of GRIBs, shape (n_days, rows, columns), metres."""
        words = ["-d", *(f"{day:%Y%m%d}" for day in days), "--hour", hour, "-g", GEOMETRY]
        self._run("tropo_pyaps3", *words, "-m", "ERA5", "-w", str(weather), "--tropo-file", name)
        return self.read(name, "timeseries")

    def _run(self, program: str, *words: str) -> None:
        run_program(program, list(words), self.folder)
