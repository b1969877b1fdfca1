"""The ground that ramps and the correlation with height are estimated on, so that they do not eat a trough.

It is land, coherent, outside the excluded areas (the worked faces and what they draw along), and neither moves against
the rest of the scene nor lies beside ground that does. If each acquisition decided anew, some pixels would come and go
with each of them, and every old ramp would change a little. So the mask is decided from the first 30, 60, 90, ...
acquisitions and kept in between (a younger record decides with all it has). It is still a function of interferograms
and settings alone: batch and update end with the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from shapely import contains_xy, from_wkt

from sagwatch.domain.grid import Grid
from sagwatch.domain.ids import content_sha256
from sagwatch.engine.corrections import CorrectionSettings
from sagwatch.engine.manifest import Manifest, inversion_json
from sagwatch.engine.velocity import elapsed_years

#: About a year of one satellite.
DECIDED_EVERY = 30
#: Ground that moves faster and has moved further than this against the median is not steady, and what lies around it.
MOVING_M_YR, MOVED_M, _AROUND_MOVING_M = 0.02, 0.03, 300.0


def decided_at(dates: Sequence[date]) -> date:
    """The last acquisition that has a say in the mask."""
    kept = len(dates) - len(dates) % DECIDED_EVERY
    return dates[(kept or len(dates)) - 1]


def mask_key(manifest: Manifest, settings: CorrectionSettings) -> str:
    """Names everything that the mask comes from: where it is the same, the mask of an earlier revision is kept."""
    until = decided_at(manifest.epochs)
    return content_sha256(
        {
            "interferograms": [(m.name, m.sha256) for m in manifest.members if m.secondary <= until],
            "settings": inversion_json(manifest.settings),
            "reference": [manifest.reference.row, manifest.reference.column],
            "grid": manifest.grid.id,
            "geometry": manifest.geometry_sha256,
            "excluded": settings.excluded,
            "limits": [MOVING_M_YR, MOVED_M, _AROUND_MOVING_M],
        }
    )


def steady_ground(
    dates: Sequence[date],
    velocity_m_yr: NDArray[np.floating],
    coherent_land: NDArray[np.bool_],
    excluded: Sequence[str],
    grid: Grid,
) -> NDArray[np.bool_]:
    """Mark it, shape (rows, columns).

    Parameters
    ----------
    velocity_m_yr
        Shape (rows, columns), of the uncorrected record of these dates; NaN is unknown, and counts as not moving.
    excluded
        Areas (WKT, metres of the grid) that never count as steady.
    """
    steady = coherent_land.copy()
    known = steady & np.isfinite(velocity_m_yr)
    if known.any():
        limit = max(MOVING_M_YR, MOVED_M / elapsed_years(dates)[-1])
        moving = known & (np.abs(velocity_m_yr - np.median(velocity_m_yr[known])) > limit)
        around = max(1, round(_AROUND_MOVING_M / grid.pixel_m))
        # A lone pixel is noise; ground that moves is wider than that.
        steady &= ~binary_dilation(_in_company(moving), iterations=around)
    return steady & ~inside(excluded, grid)


def inside(areas: Sequence[str], grid: Grid) -> NDArray[np.bool_]:
    """Pixels whose middle lies in an area (WKT, metres of the grid), shape of the grid."""
    found = np.zeros(grid.shape, np.bool_)
    if areas:
        x, y = grid.xy(*np.indices(grid.shape))
        for area in areas:
            found |= contains_xy(from_wkt(area), x, y)
    return found


def _in_company(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels with at least four of their eight neighbours."""
    padded = np.pad(mask, 1).astype(np.uint8)
    rows, columns = mask.shape
    total = sum(padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3))
    return np.asarray(mask & (total >= 5))
