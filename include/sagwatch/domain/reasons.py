"""Why a point is part of an alert or why not, so that no velocity beyond the threshold stands without a reason."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.windows import WindowVelocity
from sagwatch.domain.zones import MovingWindow


class Reason(IntEnum):
    """Stored per point as its number, shown as its words."""

    NOT_BEYOND = 0
    IN_ALERT = 1
    NO_DATA = 2
    NOT_RELIABLE = 3
    TOO_FEW_EPOCHS = 4
    HISTORY_ONLY = 5
    AS_SURROUNDINGS = 6
    NOT_SIGNIFICANT = 7
    TOO_SMALL = 8
    TOO_FEW_UPDATES = 9
    SLOWED_DOWN = 10

    def words(self, rules: AlertRules) -> str:
        """The reason in a sentence of its own."""
        first = f"{-rules.levels_mm_yr[0]:g} mm/yr"
        windows = " and ".join(f"{window.days} days" for window in rules.windows)
        return {
            Reason.NOT_BEYOND: f"no velocity beyond {first}",
            Reason.IN_ALERT: "inside a zone with an open alert",
            Reason.NO_DATA: "no data at the latest acquisition",
            Reason.NOT_RELIABLE: "not reliable: temporal coherence below the site's limit",
            Reason.TOO_FEW_EPOCHS: f"too few acquisitions in the windows of {windows}",
            Reason.HISTORY_ONLY: f"beyond {first} over the whole record only, not in the windows of {windows}: "
            "motion of the past (advisory)",
            Reason.AS_SURROUNDINGS: f"moves with its surroundings: local contrast within {first}, and "
            "its own velocity is not nearly certain yet",
            Reason.NOT_SIGNIFICANT: "not sure to move: zero lies within the 99 % limit",
            Reason.TOO_SMALL: f"fewer than {rules.least_pixels} connected pixels",
            Reason.TOO_FEW_UPDATES: f"in a zone that fewer than {rules.updates_to_raise} updates in a row showed",
            Reason.SLOWED_DOWN: "the shorter window shows that the motion has ended",
        }[self]


def point_reasons(
    windows: tuple[MovingWindow, ...],
    whole: WindowVelocity,
    observed: NDArray[np.bool_],
    reliable: NDArray[np.bool_],
    in_zone: NDArray[np.bool_],
    in_alert: NDArray[np.bool_],
    rules: AlertRules,
) -> NDArray[np.uint8]:
    """The reason of every pixel, shape (rows, columns): the first test that it fails, in the order of the judgement.

    A pixel that is beyond the first level in no window and not over the whole record is ``NOT_BEYOND``, with or without
    data; a pixel in an open alert is always ``IN_ALERT``.
    """
    threshold = rules.levels_mm_yr[0]
    with np.errstate(invalid="ignore"):
        beyond = [w.velocity.velocity_mm_yr < threshold for w in windows]
        history = whole.velocity_mm_yr < threshold
        moved = [b & w.usable & (w.moved_mm_yr < threshold) for b, w in zip(beyond, windows, strict=True)]
    some_window = np.any([w.velocity.valid for w in windows], axis=0)
    in_window = np.any(beyond, axis=0)
    usable = np.any([b & w.usable for b, w in zip(beyond, windows, strict=True)], axis=0)
    contrasted = np.any(moved, axis=0)
    sure = np.any([m & w.significant for m, w in zip(moved, windows, strict=True)], axis=0)
    tests = [
        (in_alert, Reason.IN_ALERT),
        (in_zone & (in_window | history), Reason.TOO_FEW_UPDATES),
        (~(in_window | history), Reason.NOT_BEYOND),
        (~reliable, Reason.NOT_RELIABLE),
        (~observed, Reason.NO_DATA),
        (~some_window, Reason.TOO_FEW_EPOCHS),
        (~in_window, Reason.HISTORY_ONLY),
        (~usable, Reason.SLOWED_DOWN),
        (~contrasted, Reason.AS_SURROUNDINGS),
        (~sure, Reason.NOT_SIGNIFICANT),
    ]
    return np.select(
        [test for test, _ in tests],
        [np.uint8(reason) for _, reason in tests],
        default=np.uint8(Reason.TOO_SMALL),
    ).astype(np.uint8)
