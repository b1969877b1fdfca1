"""What the name of a HyP3 product says, and whether that is what was ordered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self

from sagwatch.domain.order import ordered_granules
from sagwatch.domain.site import PIXEL_M_BY_LOOKS, Processor, Track
from sagwatch.errors import BadProductError

_TAIL = r"_(?P<polarisation>VV|HH)_INT(?P<pixel>\d{2})_[0-9A-F]{4}"
_DATES = r"_(?P<first>\d{8})_(?P<second>\d{8})"
_PATTERNS: dict[Processor, re.Pattern[str]] = {
    "INSAR_ISCE_MULTI_BURST": re.compile(
        r"S1_(?P<orbit>\d{3})_(?P<bursts>\d{6}s1n\d{2}-\d{6}s2n\d{2}-\d{6}s3n\d{2})_IW" + _DATES + _TAIL
    ),
    "INSAR_ISCE_BURST": re.compile(r"S1_(?P<bursts>\d{6}_IW[123])" + _DATES + _TAIL),
    "INSAR_GAMMA": re.compile(
        r"S1[ABCD]{2}_(?P<first>\d{8})T\d{6}_(?P<second>\d{8})T\d{6}_(?P<polarisation>VV|HH)(?P<orbits>[PRO])\d{3,4}"
        r"_INT(?P<pixel>\d{2})_G_[uw][ec][123F]_[0-9A-F]{4}"
    ),
}


@dataclass(frozen=True, slots=True)
class ProductName:
    """A product's name taken apart (HyP3 product guides; the last four digits are random, each rerun has others)."""

    text: str
    processor: Processor
    reference: date
    secondary: date
    polarisation: str
    pixel_m: float
    relative_orbit: int | None
    bursts: str | None
    #: P, R or O of a GAMMA product (see domain/orbits.py); names of burst products do not tell it.
    orbits: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a name apart.

        Raises
        ------
        BadProductError
            It is not the name of an interferogram that HyP3 makes today.
        """
        for processor, pattern in _PATTERNS.items():
            if match := pattern.fullmatch(text):
                words = match.groupdict()
                return cls(
                    text=text,
                    processor=processor,
                    reference=_day(text, words["first"]),
                    secondary=_day(text, words["second"]),
                    polarisation=words["polarisation"],
                    pixel_m=float(words["pixel"]),
                    relative_orbit=int(words["orbit"]) if "orbit" in words else None,
                    bursts=words.get("bursts"),
                    orbits=words.get("orbits"),
                )
        raise BadProductError(
            f"{text!r} is not the name of a HyP3 interferogram (GAMMA, burst or multi-burst)"
        )


def check_name(name: ProductName, track: Track, reference: date, secondary: date) -> None:
    """Refuse a product that its own name says is not what was ordered.

    Raises
    ------
    BadProductError
        The first thing that differs, as found and as wanted.
    """
    wanted_pixel_m = PIXEL_M_BY_LOOKS[track.looks]
    _same("processor", name.processor, track.processor)
    _same("dates", f"{name.reference} to {name.secondary}", f"{reference} to {secondary}")
    _same("polarisation", name.polarisation, track.polarisation)
    _same("pixel", f"{name.pixel_m:g} m", f"{wanted_pixel_m:g} m")
    if name.relative_orbit is not None:
        _same("relative orbit", name.relative_orbit, track.relative_orbit)
    if name.bursts is not None:
        _same("bursts", name.bursts, bursts_in_name(track))


def bursts_in_name(track: Track) -> str:
    """How a burst product's name lists the track's bursts."""
    if track.processor == "INSAR_ISCE_BURST":
        return track.bursts[0][4:]
    parts = []
    for swath in "123":
        numbers = sorted(burst[4:10] for burst in track.bursts if burst.endswith(f"IW{swath}"))
        parts.append(f"{numbers[0] if numbers else '000000'}s{swath}n{len(numbers):02d}")
    return "-".join(parts)


def check_granules(parameters: Mapping[str, str], ordered: dict[str, Any]) -> None:
    """Refuse a product that was made of other granules than were ordered, by its parameter file."""
    reference, secondary = ordered_granules(ordered)
    for key, wanted in (("Reference Granule", reference), ("Secondary Granule", secondary)):
        found = [part.strip() for part in parameters.get(key, "").split(",") if part.strip()]
        if sorted(found) != sorted(wanted):
            raise BadProductError(f"{key}: {_list(found)} in the product, {_list(wanted)} were ordered")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise BadProductError(f"{what}: the product has {found}, the order {wanted}")


def _day(name: str, text: str) -> date:
    try:
        return datetime.strptime(f"{text}+0000", "%Y%m%d%z").date()
    except ValueError:
        raise BadProductError(f"{name}: {text} is not a date") from None
