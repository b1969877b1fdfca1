"""One immutable HDF5 file for the troposphere's delay at each acquisition, on the track's grid.

MintPy's sign: metres of line-of-sight displacement that the delay feigns, absolute (not referenced in space or time),
so that ``timeseries - delay``, both referenced alike, is corrected. Each file is a MintPy time series of one date.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.delay import DelayState, StoredDelay
from sagwatch.engine.files import file_aside, sha256_of
from sagwatch.engine.interferogram import open_hdf5, write_attributes
from sagwatch.errors import BadInputError, BadRevisionError

#: Folder of the delays in the track's, and their dataset, shape (1, rows, columns).
FOLDER, DELAY = "delays", "timeseries"


def write_delay(
    track: Path,
    day: date,
    method: str,
    state: DelayState,
    delay_m: NDArray[np.floating],
    attributes: Mapping[str, str],
) -> StoredDelay:
    """Store a delay map; equal content gets the same name, so storing it again changes nothing.

    Parameters
    ----------
    track
        The track's folder.
    delay_m
        Shape (rows, columns), metres, see the module's docstring; NaN where it is unknown.
    attributes
        MintPy's attributes of the grid, and where the delay comes from.

    Raises
    ------
    BadInputError
        No pixel has a value.
    """
    if not np.isfinite(delay_m).any():
        raise BadInputError(f"the delay of {day} has no value on the track's grid")
    draft = track / FOLDER / f"{day:%Y%m%d}-draft-{secrets.token_hex(4)}.h5"
    own = {
        "FILE_TYPE": "timeseries",
        "UNIT": "m",
        "NO_DATA_VALUE": "nan",
        "METHOD": method,
        "STATE": state.value,
    }
    try:
        with file_aside(draft) as aside, h5py.File(aside, "w", libver="latest") as file:
            file.create_dataset(DELAY, data=delay_m[None].astype(np.float32), track_times=False)
            file["date"] = np.array([f"{day:%Y%m%d}"], dtype="S8")
            write_attributes(file, {**attributes, **own})
        digest = sha256_of(draft)
        name = f"{FOLDER}/{day:%Y%m%d}-{state}-{digest[:12]}.h5"
        draft.replace(track / name)
    finally:
        draft.unlink(missing_ok=True)
    return StoredDelay(day, method, state, name, digest)


def read_delay(track: Path, delay: StoredDelay) -> NDArray[np.float32]:
    """Read a delay map, shape (rows, columns), after checking that it is the one that was stored.

    Raises
    ------
    BadRevisionError
        The file is missing or damaged.
    """
    path = track / delay.name
    if path.is_file() and sha256_of(path) != delay.sha256:
        raise BadRevisionError(f"{path} is damaged; delete it, then the delay of {delay.day} is made anew")
    with open_hdf5(path) as file:
        return file[DELAY][0]
