"""Rasters cut into the square tiles in which the ledger keeps them.

Tiles are counted row by row over the grid; inside a tile the pixels are counted row by row too. Places of a tile that
lie outside the grid are NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.point import TILE_SIDE

TILE_PIXELS = TILE_SIDE * TILE_SIDE


def tiles_per_row(columns: int) -> int:
    """How many tiles lie beside each other over so many pixels."""
    return -(-columns // TILE_SIDE)


def tile_and_position(
    rows: NDArray[np.integer], columns: NDArray[np.integer], grid_columns: int
) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
    """Tile and place inside it (0 to 255) of pixels given by row and column."""
    tile = (rows // TILE_SIDE) * tiles_per_row(grid_columns) + columns // TILE_SIDE
    position = (rows % TILE_SIDE) * TILE_SIDE + columns % TILE_SIDE
    return tile.astype(np.int32), position.astype(np.int16)


def cut(rasters: NDArray[Any]) -> NDArray[np.float32]:
    """Tiles of rasters: shape (n, rows, columns) to (n, tiles, 256), float32."""
    layers, rows, columns = rasters.shape
    down, across = -(-rows // TILE_SIDE), tiles_per_row(columns)
    padded = np.full((layers, down * TILE_SIDE, across * TILE_SIDE), np.nan, dtype=np.float32)
    padded[:, :rows, :columns] = rasters
    blocks = padded.reshape(layers, down, TILE_SIDE, across, TILE_SIDE).transpose(0, 1, 3, 2, 4)
    return blocks.reshape(layers, down * across, TILE_PIXELS)


def changed_tiles(new: NDArray[np.float32], old: NDArray[np.float32], tolerance: float) -> NDArray[np.bool_]:
    """Tiles in which any value differs by more than the tolerance, or is no-data on one side only.

    Both arrays have shape (..., 256); the answer has shape (...).
    """
    new_is_nan, old_is_nan = np.isnan(new), np.isnan(old)
    with np.errstate(invalid="ignore"):
        differs = np.abs(new - old) > tolerance
    return np.asarray((differs | (new_is_nan != old_is_nan)).any(axis=-1))
