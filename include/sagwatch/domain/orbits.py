"""With which orbits a product was made: precise ones come out about three weeks after an acquisition."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from sagwatch.domain.site import site_day_start


class Orbits(StrEnum):
    """The less precise one of an interferogram's two orbits; anything but `PRECISE` is provisional."""

    PRECISE = "precise"
    RESTITUTED = "restituted"
    UNKNOWN = "unknown"


#: Precise orbits are published 20 days after the day that they are for (Copernicus POD service).
PRECISE_AFTER = timedelta(days=21)
#: What names of GAMMA products say (HyP3's product guide); O is the orbit predicted in flight, poorer still.
_LETTERS = {"P": Orbits.PRECISE, "R": Orbits.RESTITUTED, "O": Orbits.RESTITUTED}


@dataclass(frozen=True, slots=True)
class UsedOrbits:
    """What is known of one interferogram's orbits; ``processed_at`` is when its job was ordered, UTC."""

    reference: date
    secondary: date
    orbits: Orbits
    processed_at: datetime | None


def precise_since(day: date) -> datetime:
    """From when on a processor has the precise orbit of an acquisition."""
    return site_day_start(day) + PRECISE_AFTER


def orbits_of(letter: str | None, secondary: date, processed_at: datetime | None) -> Orbits:
    """By the name's letter where it has one (GAMMA); otherwise by when the product was made."""
    if letter is not None:
        return _LETTERS[letter]
    if processed_at is None:
        return Orbits.UNKNOWN
    return Orbits.RESTITUTED if processed_at < precise_since(secondary) else Orbits.PRECISE


def epoch_orbits(used: Iterable[UsedOrbits]) -> dict[date, Orbits]:
    """The poorest orbit that any interferogram took for each acquisition, in order of date.

    The later acquisition of a restituted interferogram counts as restituted; the earlier one only if its own precise
    orbit was not out either when the product was made.
    """
    found: dict[date, set[Orbits]] = {}
    for one in used:
        for day in (one.reference, one.secondary):
            found.setdefault(day, set()).add(_of_one(one, day))
    worst = (Orbits.RESTITUTED, Orbits.UNKNOWN, Orbits.PRECISE)
    return {day: next(orbits for orbits in worst if orbits in found[day]) for day in sorted(found)}


def _of_one(one: UsedOrbits, day: date) -> Orbits:
    if one.orbits is not Orbits.RESTITUTED or day == one.secondary:
        return one.orbits
    if one.processed_at is None:
        return Orbits.UNKNOWN
    return Orbits.RESTITUTED if one.processed_at < precise_since(day) else Orbits.PRECISE
