"""The simulated CMR: which granules a question finds, page by page.

Only what the simulated clock has published can be found. Parameters are those asf_search sends; an unknown one is
refused as CMR refuses it.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from shapely.geometry import LineString, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from .granule import PLATFORM_NAMES, Granule

MAX_PAGE_SIZE = 2000
METRES_PER_DEGREE = 111_320.0

Test = Callable[[Granule], bool]


class BadQueryError(ValueError):
    """A question that CMR would refuse with 400."""


@dataclass(frozen=True)
class Page:
    """One answer: how many granules match in all, and the part that was asked for."""

    hits: int
    granules: tuple[Granule, ...]
    search_after: str | None


def search(
    granules: Iterable[Granule], parameters: list[tuple[str, str]], now: datetime, search_after: str | None
) -> Page:
    """Answer one request, newest first."""
    tests = _tests(parameters)
    found = [g for g in granules if g.published <= now and all(test(g) for test in tests)]
    found.sort(key=_sort_key)
    if search_after:
        end_ms, ur = _cursor(search_after)
        remaining = [g for g in found if _sort_key(g) > (-end_ms, ur)]
    else:
        remaining = found
    page = tuple(remaining[: _page_size(parameters)])
    cursor = json.dumps([-_sort_key(page[-1])[0], page[-1].ur.lower()]) if page else None
    return Page(len(found), page, cursor)


def _sort_key(granule: Granule) -> tuple[int, str]:
    return -round(granule.ends.timestamp() * 1000), granule.ur.lower()


def _cursor(text: str) -> tuple[int, str]:
    try:
        end_ms, ur = json.loads(text)
        return int(end_ms), str(ur)
    except (ValueError, TypeError) as error:
        raise BadQueryError(f"CMR-Search-After header [{text}] is not valid.") from error


def _page_size(parameters: list[tuple[str, str]]) -> int:
    sizes = [value for key, value in parameters if key == "page_size"]
    if not sizes:
        return 10
    if not sizes[-1].isdigit() or int(sizes[-1]) > MAX_PAGE_SIZE:
        raise BadQueryError(f"page_size must be a number between 0 and {MAX_PAGE_SIZE}")
    return int(sizes[-1])


_ANY_OF: dict[str, Callable[[Granule], str]] = {
    "shortName": lambda g: g.short_name,
    "short_name": lambda g: g.short_name,
    "short_name[]": lambda g: g.short_name,
    "granule_ur[]": lambda g: g.ur,
    "platform[]": lambda g: PLATFORM_NAMES[g.platform],
    "instrument[]": lambda _: "C-SAR",
    "provider": lambda _: "ASF",
}
_IGNORED = re.compile(r"^(page_size|page_num|sort_key\[\]|options\[.*|token|echo_collection_id\[\])$")


def _tests(parameters: list[tuple[str, str]]) -> list[Test]:
    tests: list[Test] = []
    values: dict[str, list[str]] = {}
    for key, value in parameters:
        if not _IGNORED.match(key):
            values.setdefault(key, []).append(value)
    for key, wanted in values.items():
        if key in _ANY_OF:
            tests.append(_any_of(_ANY_OF[key], wanted))
        elif key == "readable_granule_name[]":
            tests.append(_named(wanted))
        elif key == "attribute[]":
            tests.extend(_attribute(text) for text in wanted)
        elif key in _SINGLE:
            tests.extend(_SINGLE[key](text) for text in wanted)
        else:
            raise BadQueryError(f"Parameter [{key}] was not recognized.")
    return tests


def _any_of(read: Callable[[Granule], str], wanted: list[str]) -> Test:
    folded = {value.lower() for value in wanted}
    return lambda granule: read(granule).lower() in folded


def _named(patterns: list[str]) -> Test:
    def test(granule: Granule) -> bool:
        names = {granule.name.lower(), granule.ur.lower()}
        return any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in patterns for name in names)

    return test


def _attribute(text: str) -> Test:
    kind, _, rest = text.partition(",")
    name, _, wanted = rest.partition(",")
    if kind not in ("string", "int", "float") or not name:
        raise BadQueryError(f"[{text}] is not a valid attribute query")
    if kind == "string":
        return lambda g: g.attribute_values.get(name, "").lower() == wanted.lower()
    low, high = _range(wanted, text)

    def test(granule: Granule) -> bool:
        value = granule.attribute_values.get(name)
        return value is not None and low <= float(value) <= high

    return test


def _range(wanted: str, text: str) -> tuple[float, float]:
    bounds = wanted.strip("()").replace(" ", "").split(",")
    try:
        if len(bounds) == 1:
            return float(bounds[0]), float(bounds[0])
        low, high = bounds
        return float(low) if low else float("-inf"), float(high) if high else float("inf")
    except ValueError as error:
        raise BadQueryError(f"[{text}] is not a valid attribute query") from error


def _temporal(text: str) -> Test:
    first, last, *_ = [*text.split(","), ""]
    start = _moment(first) if first else datetime.min.replace(tzinfo=UTC)
    end = _moment(last) if last else datetime.max.replace(tzinfo=UTC)
    return lambda g: g.begins <= end and g.ends >= start


def _updated_since(text: str) -> Test:
    since = _moment(text)
    return lambda g: g.published >= since


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise BadQueryError(f"[{text}] is not a valid datetime") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _numbers(text: str, *, least: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadQueryError(f"[{text}] is not a valid list of coordinates") from error
    if len(numbers) < least:
        raise BadQueryError(f"[{text}] is not a valid list of coordinates")
    return numbers


def _pairs(numbers: list[float]) -> list[tuple[float, float]]:
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def _shape(make: Callable[[list[float]], BaseGeometry], least: int) -> Callable[[str], Test]:
    def build(text: str) -> Test:
        try:
            shape = make(_numbers(text, least=least))
        except ValueError as error:
            raise BadQueryError(str(error)) from error
        return lambda granule: bool(granule.footprint.intersects(shape))

    return build


def _orbit(text: str) -> Test:
    low, high = _range(text, text)
    return lambda granule: low <= granule.orbit <= high


_SINGLE: dict[str, Callable[[str], Test]] = {
    "temporal": _temporal,
    "updated_since": _updated_since,
    "orbit_number": _orbit,
    "bounding_box": _shape(lambda n: box(*n[:4]), 4),
    "polygon": _shape(lambda n: Polygon(_pairs(n)), 8),
    "point": _shape(lambda n: Point(n[0], n[1]), 2),
    "line": _shape(lambda n: LineString(_pairs(n)), 4),
    "circle": _shape(lambda n: Point(n[0], n[1]).buffer(n[2] / METRES_PER_DEGREE), 3),
}
