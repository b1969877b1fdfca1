"""Areas that move, and who they are from one acquisition to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.contrast import contrast_noise
from sagwatch.domain.footprint import Footprint, centroid_m
from sagwatch.domain.grid import Grid
from sagwatch.domain.ids import opaque_id
from sagwatch.domain.windows import WindowVelocity

#: Two outlines are the same zone from this share of overlap (intersection over union),
LEAST_OVERLAP = 0.2
#: or from this distance of their centres if one of them is smaller than a circle of that radius,
NEAR_M = 300.0
#: or if the larger holds this share of the smaller (an area that grew fast).
LEAST_SHARE = 0.5
#: A zone that was not seen in so many updates with data has ended.
UPDATES_UNSEEN_TO_END = 3

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)
_SURE = 0.99
#: A contrast must exceed that of the site's quiet ground by so many standard deviations, or one of the thousands of
#: places of a site will do so by chance: it matters while a window holds few acquisitions.
_SURE_CONTRAST = 4.25
#: Near certainty of a velocity that is not held against its surroundings: one tail of one in 100,000, because the long
#: waves of the atmosphere and the reference point's noise are in it.
_NEARLY_CERTAIN = 1 - 1e-5
#: A shorter window overrules a longer one from so many standard deviations of its contrast.
_SURE_SLOWER = 2.0


@dataclass(frozen=True, slots=True)
class Zone:
    """An area that moves, followed over time; ``footprint`` is where it was seen last."""

    id: str
    name: str
    born_epoch: date
    last_epoch: date
    episode: int
    updates_unseen: int
    footprint: Footprint
    ended_epoch: date | None = None
    parent_zone: str | None = None
    merged_into: str | None = None
    #: First acquisition of the present run of acquisitions that show it beyond the first level.
    beyond_since: date | None = None

    @property
    def lives(self) -> bool:
        return self.ended_epoch is None and self.merged_into is None


@dataclass(frozen=True, slots=True)
class MovingWindow:
    """What one window says about every pixel; arrays of shape (rows, columns)."""

    velocity: WindowVelocity
    contrast_mm_yr: NDArray[np.float32]
    #: Standard deviation of the contrast on quiet ground.
    contrast_sd_mm_yr: float
    #: Has a velocity here and now, and no shorter window shows that it has ended.
    usable: NDArray[np.bool_]
    #: Usable, and away from the satellite beyond doubt: against its surroundings, by its own scatter (99 %, one-sided,
    #: corrected deviation) and by that of the site's quiet ground; or for itself, with near certainty (``wide``).
    significant: NDArray[np.bool_]
    #: Where the velocity itself, at its slow end of near certainty, is faster than the contrast: ground that sinks over
    #: a width that its surroundings share, which a contrast alone would never see.
    wide: NDArray[np.bool_]
    #: What the levels are judged on: the contrast, or that slow end where it is ``wide``.
    moved_mm_yr: NDArray[np.float32]


def moving_windows(
    windows: Sequence[WindowVelocity],
    contrasts: Sequence[NDArray[np.float32]],
    has_data: NDArray[np.bool_],
    background: NDArray[np.bool_],
    threshold_mm_yr: float,
) -> tuple[MovingWindow, ...]:
    """Decide per window and pixel what may count as moving; shorter windows overrule longer ones.

    A window of a year goes on showing a motion for most of a year after it stopped; without this an alert that any
    window can raise could not clear in time.

    Parameters
    ----------
    windows, contrasts
        Velocities and their local contrast, one of each per window.
    has_data
        Pixels that are reliable and were observed at the judged acquisition.
    background
        Ground that is not known to move.
    threshold_mm_yr
        First level, negative.
    """
    by_length = sorted(zip(windows, contrasts, strict=True), key=lambda pair: pair[0].days)
    result: list[MovingWindow] = []
    for window, contrast in by_length:
        known = has_data & window.valid
        usable, lasting = known, known
        for shorter in result:
            usable = usable & ~_slowed_down(contrast, shorter, threshold_mm_yr)
            lasting = lasting & ~_stopped(window, shorter, threshold_mm_yr)
        noise = contrast_noise(contrast, background & usable)
        upper = contrast + window.contrast_half_interval(_SURE)
        slow_end = window.velocity_mm_yr + window.half_interval(_NEARLY_CERTAIN)
        with np.errstate(invalid="ignore"):
            by_contrast = usable & (upper < 0) & (contrast < -_SURE_CONTRAST * noise)
            wide = lasting & (slow_end < threshold_mm_yr / 2) & ~(by_contrast & (contrast <= slow_end))
        result.append(
            MovingWindow(
                window,
                contrast,
                noise,
                usable | wide,
                by_contrast | wide,
                wide,
                np.where(wide, slow_end, contrast).astype(np.float32),
            )
        )
    return tuple(result)


def _stopped(window: WindowVelocity, shorter: MovingWindow, threshold_mm_yr: float) -> NDArray[np.bool_]:
    """The same of a velocity that is not held against its surroundings."""
    recent = shorter.velocity
    with np.errstate(invalid="ignore"):
        gain = recent.velocity_mm_yr - window.velocity_mm_yr
        return (
            recent.valid & (recent.velocity_mm_yr > threshold_mm_yr) & (gain > _SURE_SLOWER * recent.sd_mm_yr)
        )


def _slowed_down(
    contrast_mm_yr: NDArray[np.float32], shorter: MovingWindow, threshold_mm_yr: float
) -> NDArray[np.bool_]:
    """Where a shorter window shows that what the longer one still averages in has ended."""
    with np.errstate(invalid="ignore"):
        gain = shorter.contrast_mm_yr - contrast_mm_yr
        quiet = shorter.contrast_mm_yr > threshold_mm_yr
        return shorter.usable & quiet & (gain > _SURE_SLOWER * shorter.contrast_sd_mm_yr)


def moving_areas(
    windows: Sequence[MovingWindow], threshold_mm_yr: float, least_pixels: int
) -> list[NDArray[np.int64]]:
    """Connected areas that move: pixel numbers of each, in the order of their first pixel.

    In each window an area needs a core of ``least_pixels`` 8-connected pixels beyond the threshold, and grows from
    there to half of it; the areas of all windows are laid over each other.
    """
    together = np.zeros(windows[0].usable.shape, dtype=bool)
    for window in windows:
        with np.errstate(invalid="ignore"):
            core = window.significant & (window.moved_mm_yr < threshold_mm_yr)
            grown = window.significant & (window.moved_mm_yr < threshold_mm_yr / 2)
        together |= _parts_that_touch(grown, _large_parts(core, least_pixels))
    from scipy.ndimage import label  # scipy takes long to load, and most tasks judge nothing

    labels, _ = label(together, structure=_EIGHT_CONNECTED)
    flat = labels.ravel()
    inside = np.flatnonzero(flat)
    inside = inside[np.argsort(flat[inside], kind="stable")]
    areas = np.split(inside, np.flatnonzero(np.diff(flat[inside])) + 1) if inside.size else []
    return sorted(areas, key=lambda pixels: int(pixels[0]))


def _large_parts(mask: NDArray[np.bool_], least_pixels: int) -> NDArray[np.bool_]:
    from scipy.ndimage import label

    labels, n = label(mask, structure=_EIGHT_CONNECTED)
    large = np.bincount(labels.ravel(), minlength=n + 1) >= least_pixels
    large[0] = False
    return large[labels]


def _parts_that_touch(mask: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.ndimage import label

    labels, n = label(mask, structure=_EIGHT_CONNECTED)
    touched = np.zeros(n + 1, dtype=bool)
    touched[labels[seeds & mask]] = True
    touched[0] = False
    return touched[labels]


@dataclass(frozen=True, slots=True)
class Following:
    """Which zone each area is; ``None`` is a new one, ``parent_of_area`` says from whom it split."""

    zone_of_area: tuple[str | None, ...]
    parent_of_area: tuple[str | None, ...]
    merged_into: Mapping[str, str]


def follow_zones(
    areas: Sequence[NDArray[np.int64]],
    zones: Sequence[Zone],
    grid: Grid,
    epoch: date,
    returns_within_days: int,
) -> Following:
    """Match the areas of an acquisition one-to-one with the zones that were known, by where these were seen last.

    Living zones come first (Hungarian method on the overlap, ties by the oldest). An area that swallowed others is
    the oldest of them; of the parts of a zone that split the largest is the zone. What remains may be a zone that
    ended within ``returns_within_days`` at the same place.
    """
    living = sorted((zone for zone in zones if zone.lives), key=_age)
    shared, close = _resemblance(areas, living, grid)
    zone_of: dict[int, int] = _assign(areas, living, shared, close)
    merged = _swallowed(living, shared, zone_of)
    parent_of = _split_off(areas, living, shared, zone_of)
    names: list[str | None] = [
        living[zone_of[area]].id if area in zone_of else None for area in range(len(areas))
    ]
    parents: list[str | None] = [
        living[parent_of[area]].id if area in parent_of else None for area in range(len(areas))
    ]
    left = [area for area in range(len(areas)) if names[area] is None]
    gone = sorted((zone for zone in zones if _may_return(zone, epoch, returns_within_days)), key=_age)
    back_shared, back_close = _resemblance([areas[i] for i in left], gone, grid)
    for i, zone in _assign([areas[i] for i in left], gone, back_shared, back_close).items():
        names[left[i]], parents[left[i]] = gone[zone].id, None
    return Following(tuple(names), tuple(parents), merged)


def _age(zone: Zone) -> tuple[date, str]:
    return zone.born_epoch, zone.id


def _may_return(zone: Zone, epoch: date, within_days: int) -> bool:
    ended = zone.ended_epoch
    return zone.merged_into is None and ended is not None and (epoch - ended).days <= within_days


def _resemblance(
    areas: Sequence[NDArray[np.int64]], zones: Sequence[Zone], grid: Grid
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Pixels in common, and whether they may be the same; both of shape (zones, areas)."""
    shared = np.zeros((len(zones), len(areas)), dtype=np.int64)
    close = np.zeros(shared.shape, dtype=bool)
    if not shared.size:
        return shared, close
    labels = np.zeros(grid.pixels, dtype=np.int32)
    for i, area in enumerate(areas):
        labels[area] = i + 1
    small = np.pi * NEAR_M**2 / grid.pixel_m**2
    centres = [centroid_m(area, grid) for area in areas]
    for z, zone in enumerate(zones):
        pixels = zone.footprint.pixels
        shared[z] = np.bincount(labels[pixels], minlength=len(areas) + 1)[1:]
        x, y = centroid_m(pixels, grid)
        for a, area in enumerate(areas):
            least = min(area.size, pixels.size)
            union = area.size + pixels.size - shared[z, a]
            near = least < small and np.hypot(centres[a][0] - x, centres[a][1] - y) <= NEAR_M
            overlaps = shared[z, a] >= LEAST_OVERLAP * union or shared[z, a] >= LEAST_SHARE * least
            close[z, a] = overlaps or near
    return shared, close


def _assign(
    areas: Sequence[NDArray[np.int64]],
    zones: Sequence[Zone],
    shared: NDArray[np.int64],
    close: NDArray[np.bool_],
) -> dict[int, int]:
    """Area to zone, one-to-one, the greatest sum of overlaps."""
    if not close.any():
        return {}
    sizes = np.array([area.size for area in areas])[None, :]
    zone_sizes = np.array([zone.footprint.size for zone in zones])[:, None]
    overlap = shared / np.maximum(sizes + zone_sizes - shared, 1)
    # A pair that may not be the same costs so much that it is only chosen when nothing else is left, and then dropped;
    # the older zone wins a tie.
    rank = np.arange(len(zones))[:, None] * 1e-9
    cost = np.where(close, 1.0 - overlap + rank, 1e3)
    from scipy.optimize import linear_sum_assignment

    chosen_zones, chosen_areas = linear_sum_assignment(cost)
    pairs = zip(chosen_zones.tolist(), chosen_areas.tolist(), strict=True)
    return {area: zone for zone, area in pairs if close[zone, area]}


def _swallowed(
    zones: Sequence[Zone],
    shared: NDArray[np.int64],
    zone_of: dict[int, int],
) -> dict[str, str]:
    """Zones that lost their place to another's area: the oldest takes it (``zone_of`` is changed), others merge."""
    merged: dict[str, str] = {}
    homeless = set(range(len(zones))) - set(zone_of.values())
    for area in sorted(zone_of):
        inside = [z for z in homeless if shared[z, area] >= LEAST_SHARE * zones[z].footprint.size]
        if not inside:
            continue
        group = sorted([*inside, zone_of[area]])  # zones come oldest first
        zone_of[area] = group[0]
        homeless -= set(group)
        merged.update({zones[z].id: zones[group[0]].id for z in group[1:]})
    return merged


def _split_off(
    areas: Sequence[NDArray[np.int64]],
    zones: Sequence[Zone],
    shared: NDArray[np.int64],
    zone_of: dict[int, int],
) -> dict[int, int]:
    """Areas without a zone that lie mostly where a zone was; its largest part is the zone (``zone_of`` is changed)."""
    parents: dict[int, int] = {}
    area_of = {zone: area for area, zone in zone_of.items()}
    for area in [a for a in range(len(areas)) if a not in zone_of]:
        if not len(zones) or shared[:, area].max(initial=0) < LEAST_SHARE * areas[area].size:
            continue
        zone = int(np.argmax(shared[:, area]))
        if zone not in area_of:
            continue
        if areas[area].size > areas[area_of[zone]].size:
            parents[area_of[zone]] = zone
            zone_of.pop(area_of[zone])
            zone_of[area], area_of[zone] = zone, area
        else:
            parents[area] = zone
    return parents


def new_zone_id(track_id: str, epoch: date, seed_pixel: int) -> str:
    """The same area born at the same acquisition has the same id, whenever and wherever that is computed."""
    return opaque_id("zone", track_id, epoch, seed_pixel)
