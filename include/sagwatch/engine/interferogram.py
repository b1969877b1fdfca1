"""One immutable HDF5 file for each interferogram, on the track's grid.

Each file is a MintPy stack of one pair, so every MintPy tool can look at it by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

import h5py
import numpy as np
from h5py import h5a, h5d, h5f, h5s, h5t
from numpy.typing import NDArray

from sagwatch.engine.files import file_aside, sha256_of
from sagwatch.errors import BadInputError, BadProductError, BadRevisionError

PHASE, COHERENCE, COMPONENT = "unwrapPhase", "coherence", "connectComponent"
#: Attribute of a treated interferogram: the id of the one that it was made from.
ORIGINAL = "SAGWATCH_ORIGINAL"
PairKey = tuple[date, date, str, str]
_TEXT, _ONE = h5t.py_create(h5py.string_dtype(), logical=True), h5s.create(h5s.SCALAR)


@dataclass(frozen=True)
class Layers:
    """What an interferogram says about each pixel of the grid; every array has the grid's shape.

    Attributes
    ----------
    phase_rad
        Unwrapped phase, float32, positive away from the satellite; NaN where the product has no data.
    coherence
        0 to 1, float32; NaN where the product has no data.
    component
        Connected component of the unwrapping, int16; 0 is in none. None if the processor does not deliver it.
    """

    phase_rad: NDArray[np.float32]
    coherence: NDArray[np.float32]
    component: NDArray[np.int16] | None = None

    def __post_init__(self) -> None:
        shapes = {self.phase_rad.shape, self.coherence.shape}
        shapes |= {self.component.shape} if self.component is not None else set()
        if len(shapes) != 1 or self.phase_rad.ndim != 2:
            raise BadInputError(f"the layers of one interferogram have different shapes: {sorted(shapes)}")

    @classmethod
    def from_product(
        cls,
        unwrapped: NDArray[np.floating],
        coherence: NDArray[np.floating],
        component: NDArray[np.number] | None = None,
    ) -> Self:
        """Take HyP3's rasters, where 0 means "no data", after clipping to the grid; infinite values are none either."""
        phase, quality = unwrapped.astype(np.float32), coherence.astype(np.float32)
        for layer in (phase, quality):
            layer[(layer == 0) | ~np.isfinite(layer)] = np.nan
        if component is None:
            return cls(phase, quality)
        return cls(phase, quality, np.nan_to_num(component, nan=0).astype(np.int16))

    @property
    def mean_coherence(self) -> float:
        """Mean over the pixels that have one; 0 if none has."""
        seen = np.isfinite(self.coherence)
        return float(self.coherence[seen].mean(dtype=np.float64)) if seen.any() else 0.0


@dataclass(frozen=True, slots=True, order=True)
class StoredInterferogram:
    """An interferogram that the stack may use: its dates, its id (the file's name) and the file's hash.

    ``perpendicular_baseline_m`` may be NaN, as HyP3 sometimes delivers it; the stack then fills it in from the
    other pairs.
    """

    reference: date
    secondary: date
    id: str
    sha256: str
    perpendicular_baseline_m: float

    def __post_init__(self) -> None:
        if self.reference >= self.secondary:
            raise BadInputError(f"interferogram {self.id}: {self.reference} is not before {self.secondary}")

    @property
    def key(self) -> PairKey:
        """What makes an interferogram another one; its baseline may be unknown, and NaN is never equal."""
        return self.reference, self.secondary, self.id, self.sha256

    @property
    def name(self) -> str:
        """MintPy's name of the pair, YYYYMMDD_YYYYMMDD; taken from ISO dates, which is ten times as fast."""
        return f"{self.reference}_{self.secondary}".replace("-", "")


def write_interferogram(path: Path, layers: Layers, attributes: Mapping[str, str]) -> str:
    """Write an interferogram once and for ever; return the file's SHA-256.

    Writing the same content again changes nothing.

    Parameters
    ----------
    path
        ``.../interferograms/<id>.h5``.
    layers
        The pixels.
    attributes
        MintPy's attributes of the pair, see `hyp3_attributes.product_attributes`.

    Raises
    ------
    BadProductError
        A file of that name exists with another content.
    """
    earlier, later = _dates(attributes)
    with file_aside(path) as aside:
        with h5py.File(aside, "w") as file:
            _write_layer(file, PHASE, layers.phase_rad)
            _write_layer(file, COHERENCE, layers.coherence)
            if layers.component is not None:
                _write_layer(file, COMPONENT, layers.component)
            file["date"] = np.array([[earlier, later]], dtype="S8")
            file["bperp"] = np.array([attributes["P_BASELINE_TOP_HDR"]], dtype=np.float32)
            file["dropIfgram"] = np.array([True])
            write_attributes(file, {**attributes, "FILE_TYPE": "ifgramStack", "NO_DATA_VALUE": "nan"})
        digest = sha256_of(aside)
        if path.exists() and sha256_of(path) != digest:
            raise BadProductError(
                f"{path} exists with another content; stored interferograms never change. "
                "Move the file away if it is damaged, then fetch the product again"
            )
    return digest


def read_layers(path: Path) -> Layers:
    """Read the pixels of a stored interferogram."""
    with open_hdf5(path) as file:
        component = file[COMPONENT][0] if COMPONENT in file else None
        return Layers(file[PHASE][0], file[COHERENCE][0], component)


def read_attributes(path: Path) -> dict[str, str]:
    """Read the attributes at the root of an HDF5 file."""
    with open_hdf5(path) as file:
        return dict(_attribute(file.id, place) for place in range(h5a.get_num_attrs(file.id)))


def _attribute(place: h5f.FileID, index: int) -> tuple[str, str]:
    attribute = h5a.open(place, index=index)
    value = np.empty(attribute.shape, attribute.dtype)
    attribute.read(value)
    word = value[()]
    return attribute.name.decode(), word.decode() if isinstance(word, bytes) else str(word)


def write_attributes(thing: h5py.File | h5d.DatasetID, attributes: Mapping[str, str]) -> None:
    """Write attributes that are not there yet, in a fixed order, so that equal content makes equal files.

    On the low level, which is four times faster.
    """
    place = thing.id if isinstance(thing, h5py.File) else thing
    for key in sorted(attributes):
        h5a.create(place, key.encode(), _TEXT, _ONE).write(np.array(attributes[key], dtype=object))


def open_hdf5(path: Path) -> h5py.File:
    """Open a file of the store for reading.

    Raises
    ------
    BadRevisionError
        It is missing or damaged.
    """
    with _explained(path):
        return h5py.File(path, "r")


@contextmanager
def look_into(path: Path) -> Iterator[h5f.FileID]:
    """Open a file of the store for one short look; on the low level, which is several times faster.

    Raises
    ------
    BadRevisionError
        It is missing or damaged.
    """
    with _explained(path):
        file = h5f.open(os.fsencode(path), h5f.ACC_RDONLY)
    try:
        yield file
    finally:
        file.close()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise BadRevisionError(f"{path} is missing; restore it from a backup or fetch it again") from None
    except OSError as problem:
        raise BadRevisionError(f"{path} cannot be read, it may be damaged: {problem}") from problem


def _write_layer(file: h5py.File, name: str, array: NDArray[np.generic]) -> None:
    file.create_dataset(name, data=array[None], track_times=False)


def _dates(attributes: Mapping[str, str]) -> tuple[str, str]:
    """Read the two dates, YYYYMMDD, from MintPy's six-digit ones; Sentinel-1 flies since 2014."""
    earlier, later = (f"20{part}" for part in attributes["DATE12"].split("-"))
    return earlier, later
