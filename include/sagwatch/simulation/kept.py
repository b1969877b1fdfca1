"""Keep what was computed from a scenario: pairs share dates, products share hills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from .scenario import Scenario

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class _Keyed:
    """A scenario that a cache can tell from others: equal files are equal, whatever object they were read into."""

    key: str
    scenario: Scenario

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and other.key == self.key


def kept(
    most: int,
) -> Callable[[Callable[Concatenate[Scenario, P], R]], Callable[Concatenate[Scenario, P], R]]:
    """Remember the last `most` results of a function of a scenario and hashable arguments; arrays become read-only."""

    def decorate(function: Callable[Concatenate[Scenario, P], R]) -> Callable[Concatenate[Scenario, P], R]:
        @lru_cache(maxsize=most)
        def remembered(keyed: _Keyed, *args: Any, **kwargs: Any) -> R:
            result = function(keyed.scenario, *args, **kwargs)
            if isinstance(result, np.ndarray):
                result.setflags(write=False)
            return result

        @wraps(function)
        def asked(scenario: Scenario, *args: Any, **kwargs: Any) -> R:
            return remembered(_Keyed(scenario.key, scenario), *args, **kwargs)

        return asked

    return decorate
