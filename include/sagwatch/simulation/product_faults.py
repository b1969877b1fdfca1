"""Products with something wrong inside, made from right ones on demand."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile


def spoiled(product: Path, fault: str, folder: Path) -> Path:
    """A copy of a zip with the fault inside, in the server's own folder."""
    target = folder / f"{product.stem}.{fault}.zip"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    aside = target.with_suffix(".part")
    with zipfile.ZipFile(product) as source, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as copy:
        for entry in source.infolist():
            content = source.read(entry)
            if fault == "other_grid" and entry.filename.endswith(".tif"):
                content = _shifted(content)
            elif fault == "wrong_cycle" and entry.filename.endswith("_unw_phase.tif"):
                content = _with_wrong_cycle(content)
            elif fault == "wrong_date" and entry.filename.endswith(".txt"):
                content = _other_secondary(content.decode()).encode()
            copy.writestr(zipfile.ZipInfo(entry.filename, entry.date_time), content, zipfile.ZIP_DEFLATED)
        if fault == "outside":
            copy.writestr("../../escaped.txt", "This file wanted to be written outside of its folder.\n")
    aside.replace(target)
    return target


def _shifted(tif: bytes) -> bytes:
    """Half a pixel to the east: a lattice that no whole-pixel clipping can repair."""

    def shift(profile: dict[str, Any], values: NDArray[Any]) -> None:  # noqa: ARG001
        profile["transform"] = profile["transform"] @ Affine.translation(0.5, 0.0)

    return _changed(tif, shift)


def _with_wrong_cycle(tif: bytes) -> bytes:
    """A patch of a quarter of the height and width around the middle, where there is phase."""

    def add(profile: dict[str, Any], values: NDArray[Any]) -> None:  # noqa: ARG001
        rows, columns = (slice(3 * n // 8, 5 * n // 8) for n in values.shape[1:])
        patch = values[:, rows, columns]
        patch[patch != 0] += np.float32(2 * np.pi)

    return _changed(tif, add)


def _changed(tif: bytes, change: Callable[[dict[str, Any], NDArray[Any]], None]) -> bytes:
    """``change`` works on profile and values in their place."""
    with MemoryFile(tif) as memory, memory.open() as raster:
        profile, values, tags = raster.profile, raster.read(), raster.tags()
    change(profile, values)
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.write(values)
            raster.update_tags(**tags)
        return bytes(memory.read())


def _other_secondary(text: str) -> str:
    """A parameter file whose secondary granule is of twelve days later."""

    def later(match: re.Match[str]) -> str:
        day = datetime.strptime(match[0] + "+0000", "%Y%m%d%z") + timedelta(days=12)
        return f"{day:%Y%m%d}"

    lines = text.splitlines(keepends=True)
    wrong = [
        re.sub(r"(?<=_)20\d{6}(?=T)", later, line) if line.startswith("Secondary") else line for line in lines
    ]
    return "".join(wrong)
