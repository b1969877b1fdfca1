"""Our velocity field beside the one that MintPy's own programs make of the same interferograms.

``PYTHONPATH=include:. python -m benchmarks.referee REVISION --picture FILE.png`` prints the table of differences that
stands in the README and draws its picture. REVISION is a folder ``<data>/<site>/<track>/revisions/<number>-<id>``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import h5py
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.manifest import read_manifest
from sagwatch.engine.mintpy_process import run_program
from sagwatch.engine.mintpy_programs import compare_with_mintpy, export_mintpy

WATER_AND_NOTHING = "#e6e6e0"


def velocities_mm_yr(revision: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Whole-record LOS velocity of the revision and of MintPy, shape (rows, columns), NaN where MintPy has none."""
    weight = read_manifest(revision).settings["weight"]
    with tempfile.TemporaryDirectory(prefix="sagwatch-referee-") as scratch:
        export = export_mintpy(revision, Path(scratch) / "export")
        theirs = Path(scratch) / "mintpy"
        (theirs / "inputs").mkdir(parents=True)
        shutil.copyfile(export / "inputs" / "ifgramStack.h5", theirs / "inputs" / "ifgramStack.h5")
        shutil.copyfile(export / "waterMask.h5", theirs / "waterMask.h5")
        run_program("ifgram_inversion", ["inputs/ifgramStack.h5", "-w", weight, "-m", "waterMask.h5"], theirs)
        run_program("timeseries2velocity", ["timeseries.h5", "-o", "velocity.h5"], theirs)
        fields = []
        for folder in (export, theirs):
            with h5py.File(folder / "velocity.h5") as file:
                fields.append(1000.0 * file["velocity"][:].astype(np.float64))
        with h5py.File(theirs / "numInvIfgram.h5") as file:
            inverted = file["mask"][:] > 0
    ours, mintpy = (np.where(inverted, field, np.nan) for field in fields)
    return ours, mintpy


def draw(ours: NDArray[np.float64], mintpy: NDArray[np.float64], title: str, picture: Path) -> None:
    """Both fields in one scale, and their difference in its own."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    limit = float(np.nanpercentile(np.abs(ours), 99.5))
    difference = ours - mintpy
    small = max(float(np.nanmax(np.abs(difference))), 1e-9)
    panels = [("Sagwatch", ours, limit), ("MintPy", mintpy, limit), ("difference", difference, small)]
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.2), layout="constrained")
    for axis, (name, field, scale) in zip(axes, panels, strict=True):
        axis.set_facecolor(WATER_AND_NOTHING)
        image = axis.imshow(field, cmap="RdBu", vmin=-scale, vmax=scale, interpolation="nearest")
        axis.set_title(name)
        axis.set_xticks([])
        axis.set_yticks([])
        figure.colorbar(image, ax=axis, label="LOS mm/yr, negative away from the satellite", shrink=0.85)
    figure.suptitle(title)
    figure.savefig(picture, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", type=Path)
    parser.add_argument("--picture", type=Path, required=True)
    wish = parser.parse_args()
    manifest = read_manifest(wish.revision)
    print(compare_with_mintpy(wish.revision).table())
    title = f"{manifest.epochs[0]} to {manifest.epochs[-1]}, {len(manifest.members)} interferograms"
    draw(*velocities_mm_yr(wish.revision), title, wish.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
