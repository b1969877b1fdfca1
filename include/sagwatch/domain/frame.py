"""Where on its orbit Sentinel-1 sees a place, from numbers in names: enough to describe an archive of products."""

from __future__ import annotations

import math

ORBITS_PER_CYCLE = 175
ORBIT_SECONDS = 12 * 86_400 / ORBITS_PER_CYCLE
#: Bursts are numbered by these times, seconds (Sentinel-1 burst map, ESA).
BEAM_SECONDS, PREAMBLE_SECONDS = 2.758273, 2.299849
INCLINATION_RAD = math.radians(98.18)
#: A scene is five frames long.
FRAME_SECONDS, FRAMES_A_SCENE = 5.12, 5


def nominal_frame(latitude: float, direction: str) -> int:
    """A frame number for a place, a multiple of five; good to one scene, and the same for a whole archive.

    Products do not say of which frame they are. ``direction`` is ascending or descending.
    """
    from_node = math.asin(max(-1.0, min(1.0, math.sin(math.radians(latitude)) / math.sin(INCLINATION_RAD))))
    if direction.lower() == "descending":
        from_node = math.pi - from_node
    seconds = (from_node % (2 * math.pi)) / (2 * math.pi) * ORBIT_SECONDS
    scenes = round(seconds / FRAME_SECONDS / FRAMES_A_SCENE)
    return max(FRAMES_A_SCENE, FRAMES_A_SCENE * scenes)


def relative_orbit_of_burst(number: int) -> int:
    """The track of a burst, by its number within the 12-day cycle."""
    seconds = (number - 1) * BEAM_SECONDS + PREAMBLE_SECONDS
    return int(seconds // ORBIT_SECONDS) + 1
