"""The layer of blind spots: made when a revision is published, for the ledger and as a file beside the revisions."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.blind_spots import Blind, BlindView, GradientLimit, blind_spots
from sagwatch.domain.judgement import GroundView
from sagwatch.domain.site import BlindRule
from sagwatch.engine.closure import COUNT_FILE, read_counts
from sagwatch.engine.files import file_aside
from sagwatch.engine.interferogram import read_attributes, write_attributes
from sagwatch.engine.revision import Revision

FILE = "blindSpots.h5"


def find_blind_spots(
    revision: Revision, view: GroundView, in_zone: NDArray[np.bool_], rule: BlindRule
) -> NDArray[np.uint8]:
    """The `Blind` code of every pixel of a revision; ``view`` is of its newest epoch and holds the history."""
    count, known = None, None
    # Revisions that were made before this layer was thought of have no counts.
    if (revision.folder / COUNT_FILE).exists():
        count, known = read_counts(revision.folder)
    if view.los_m is None:
        raise ValueError("blind spots are found in a history; the view has none")
    seen = BlindView(
        dates=view.dates,
        los_m=view.los_m,
        pair_days=view.pair_days,
        has_data=view.observed,
        reliable=view.reliable,
        moving=in_zone,
        contradicted=count,
        triangles=known,
    )
    return blind_spots(seen, rule.step_share)


def write_blind_spots(track: Path, revision: Revision, code: NDArray[np.uint8], limit: GradientLimit) -> Path:
    """Write the layer of the newest published revision as a MintPy mask; the file of the one before is replaced."""
    attributes = read_attributes(revision.folder / "maskTempCoh.h5")
    attributes |= {
        "UNIT": "1",
        "SAGWATCH_REVISION": revision.manifest.id,
        "SAGWATCH_CODES": ", ".join(f"{flag.value} {(flag.name or '').lower()}" for flag in Blind),
        "SAGWATCH_LIMIT_LOS_MM_YR": f"{limit.los_mm_yr:.1f}",
    }
    path = track / FILE
    with file_aside(path) as aside, h5py.File(aside, "w") as file:
        file.create_dataset("mask", data=code, track_times=False)
        write_attributes(file, attributes)
    return path
