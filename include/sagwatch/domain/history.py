"""Rule R1-history: the published study's rule, the velocity of the whole record, as one advisory about a track.

It comes years late and stays years too long (62 acquisitions after five stable years for 200 mm/yr), so by default it
is a line of the digest. It is there so that nobody finds a value beyond the threshold that no rule speaks of.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.alert import HISTORY_RULE, Reading
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.footprint import centroid_lon_lat
from sagwatch.domain.grid import Grid
from sagwatch.domain.sentence import area_words, place_words
from sagwatch.domain.windows import WindowVelocity
from sagwatch.domain.zone_rules import Finding

_EIGHT = np.ones((3, 3), dtype=bool)
_SURE = 0.99
#: A level counts as left when no area reaches this share of it any more.
_HELD = 0.9
_MOST_AREAS = 10


def history_finding(
    whole: WindowVelocity,
    has_data: NDArray[np.bool_],
    alerted: NDArray[np.bool_],
    grid: Grid,
    rules: AlertRules,
) -> Finding:
    """Connected areas that are beyond a level over the whole record and surely move.

    Parameters
    ----------
    whole
        The whole record's velocity; it counts from as many epochs as the longest window needs.
    has_data, alerted
        Shapes (rows, columns) and (pixels,): observed and reliable; inside a zone with an open velocity alert.
    """
    least_epochs = max(window.least_epochs for window in rules.windows)
    with np.errstate(invalid="ignore"):
        sure = whole.velocity_mm_yr + whole.half_interval(_SURE) < 0
    usable = has_data & whole.valid & sure & (whole.n_epochs >= least_epochs)
    now = sum(bool(_areas(whole, usable, level, rules.least_pixels)) for level in rules.levels_mm_yr)
    held = sum(bool(_areas(whole, usable, _HELD * level, rules.least_pixels)) for level in rules.levels_mm_yr)
    found = _areas(whole, usable, rules.levels_mm_yr[0], rules.least_pixels)
    areas = [_about(pixels, whole, alerted, grid) for pixels in found[:_MOST_AREAS]]
    first = -rules.levels_mm_yr[0]
    return Finding(
        HISTORY_RULE,
        Reading(now, max(now, held)),
        rules.history.tell,
        _words(areas, len(found), first),
        {"areas": areas, "points": int(sum(pixels.size for pixels in found))},
        limit_words=f"faster than {-rules.levels_mm_yr[max(now, 1) - 1]:g} mm/yr over the whole record",
    )


def _areas(
    whole: WindowVelocity, usable: NDArray[np.bool_], level: float, least_pixels: int
) -> list[NDArray[np.int64]]:
    """Pixel numbers of each area, the largest first."""
    from scipy.ndimage import label  # scipy is slow to load, and tasks that judge nothing import this

    with np.errstate(invalid="ignore"):
        beyond = usable & (whole.velocity_mm_yr < level)
    labels, _ = label(beyond, structure=_EIGHT)
    flat = labels.ravel()
    inside = np.flatnonzero(flat)
    inside = inside[np.argsort(flat[inside], kind="stable")]
    parts = np.split(inside, np.flatnonzero(np.diff(flat[inside])) + 1) if inside.size else []
    large = [part for part in parts if part.size >= least_pixels]
    return sorted(large, key=lambda part: (-part.size, int(part[0])))


def _about(
    pixels: NDArray[np.int64], whole: WindowVelocity, alerted: NDArray[np.bool_], grid: Grid
) -> dict[str, Any]:
    longitude, latitude = centroid_lon_lat(pixels, grid)
    return {
        "latitude": round(latitude, 6),
        "longitude": round(longitude, 6),
        "area_m2": pixels.size * grid.pixel_m**2,
        "median_mm_yr": round(float(np.median(whole.velocity_mm_yr.ravel()[pixels])), 2),
        "in_open_alert": bool(alerted[pixels].mean() > 0.5),
    }


def _words(areas: list[dict[str, Any]], count: int, first: float) -> str:
    if not areas:
        return f"No area is beyond {first:g} mm/yr over the whole record."
    largest = areas[0]
    past = sum(not area["in_open_alert"] for area in areas)
    place = place_words(largest["latitude"], largest["longitude"])
    if past:
        where = (
            f"{past} of {len(areas)} in no zone with an open velocity alert: motion of the past, or too slow for the "
            "recent windows."
        )
    elif count == 1:
        where = "it lies in a zone with an open velocity alert."
    else:
        where = f"the largest {len(areas)} lie in zones with open velocity alerts."
    return (
        f"{count} {'area is' if count == 1 else 'areas are'} beyond {first:g} mm/yr over the whole record, the largest "
        f"{area_words(largest['area_m2'])} at {place} (median {largest['median_mm_yr']:+.0f} mm/yr); {where}"
    )
