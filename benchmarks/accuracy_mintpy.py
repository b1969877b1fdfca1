"""MintPy's standard chain on the very interferograms that Sagwatch solved: its own programs, its own default settings.

The steps of `smallbaselineApp.py` after loading, with the defaults of its template: no network changes, no unwrapping
correction, weighted inversion, ERA5 by PyAPS, no ramp, topographic residual, dates with a large residual left out of
the velocity. The reference pixel is Sagwatch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.mintpy_programs import export_mintpy, run_program

RAW, TROPOSPHERE, TOPOGRAPHY = "timeseries.h5", "timeseries_ERA5.h5", "timeseries_ERA5_demErr.h5"
GEOMETRY, DELAYS, MASK, EXCLUDED = (
    "inputs/geometryGeo.h5",
    "inputs/ERA5.h5",
    "maskTempCoh.h5",
    "exclude_date.txt",
)


@dataclass(frozen=True)
class MintPyChain:
    """A folder in which MintPy works."""

    folder: Path

    @classmethod
    def on(cls, revision: Path, folder: Path) -> MintPyChain:
        """Copy a revision's interferograms to a plain MintPy folder and invert them."""
        chain = cls(export_mintpy(revision, folder))
        chain._run("ifgram_inversion", "inputs/ifgramStack.h5", "-w", "var", "-m", "waterMask.h5")
        chain._run("generate_mask", "temporalCoherence.h5", "-m", "0.7", "-o", MASK)
        return chain

    def troposphere(self, weather: Path) -> None:
        """Correct with the GRIBs in ``weather``/ERA5, named as MintPy names them."""
        words = ["-f", RAW, "-g", GEOMETRY, "-m", "ERA5", "-w", str(weather)]
        self._run("tropo_pyaps3", *words, "--tropo-file", DELAYS, "-o", TROPOSPHERE)

    def topography(self) -> None:
        """Estimate the topographic residual beside a quadratic motion."""
        corrected = TROPOSPHERE if (self.folder / TROPOSPHERE).exists() else RAW
        words = [corrected, "-g", GEOMETRY, "-p", "2", "-o", TOPOGRAPHY]
        self._run("dem_error", *words)

    def velocity(self) -> None:
        """The whole record's velocity, without the dates that MintPy finds too noisy."""
        self._run("timeseries_rms", "timeseriesResidual.h5", "-r", "quadratic", "-m", MASK, "--cutoff", "3")
        excluded = ["--exclude", EXCLUDED] if (self.folder / EXCLUDED).exists() else []
        self._run("timeseries2velocity", TOPOGRAPHY, "-o", "velocity.h5", *excluded)

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
