"""A pixel of a grid that is published: its number never changes."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid

#: Points are stored in square tiles of so many pixels a side.
TILE_SIDE = 16


def point_ids(track_id: str, grid: Grid) -> NDArray[np.int64]:
    """Ids of all pixels, shape (rows, columns).

    The upper 31 bits name the track and its grid, the lower 32 count the pixels row by row, so the id needs no
    look-up and the same pixel has the same id for ever.
    """
    digest = hashlib.sha256(f"{track_id}:{grid.id}".encode()).digest()
    prefix = int.from_bytes(digest[:4], "big") >> 1
    return (np.int64(prefix) << 32) + np.arange(grid.pixels, dtype=np.int64).reshape(grid.shape)
