"""What is told about a zone, in words: what moves, how fast and how sure, since when, and what InSAR cannot see there.

Line of sight stays line of sight: nothing here turns it into subsidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sagwatch.domain.alert import RULE_TITLES, EventType
from sagwatch.domain.windows import EvidenceClass

#: Sentinel-1 C band, metres.
WAVELENGTH_M = 0.05546576
#: More line-of-sight motion between neighbouring pixels within one interferogram is ambiguous: a quarter wavelength.
STEP_LIMIT_MM = WAVELENGTH_M / 4 * 1000


@dataclass(frozen=True, slots=True)
class ZoneFacts:
    """Everything that the words about a zone are made of; velocities LOS in mm/yr, negative away.

    ``core_mm_yr`` is what the fastest connected pixels reach together against their surroundings, which is what the
    levels are judged on; None where nothing is proved. ``threshold_mm_yr`` is the level that the certainty is about.
    """

    zone_name: str
    latitude: float
    longitude: float
    area_m2: float
    pixel_m: float
    window_words: str
    median_mm_yr: float
    interval_mm_yr: tuple[float, float]
    core_mm_yr: float | None
    core_half_interval_mm_yr: float | None
    #: The core moves together with wide surroundings, and ``core_mm_yr`` is what it surely exceeds.
    wide: bool
    threshold_mm_yr: float
    evidence_class: EvidenceClass
    n_epochs: int
    beyond_since: date | None
    epoch: date
    displacement_mm: float | None
    no_data_fraction: float
    incidence_deg: float | None
    #: Sentences about its place in the mine and its stage of movement; empty where nothing is known.
    place: str = ""
    stage: str = ""
    lower_bound: bool = False


def event_sentence(
    type_: EventType, level: int, threshold_mm_yr: float, facts: ZoneFacts, other: str = ""
) -> str:
    """One paragraph about an event; ``level`` and its threshold are the new ones (the old ones where it is over)."""
    beyond = f"faster than {-threshold_mm_yr:g} mm/yr"
    opening = {
        "raised": f"Level {level}, {beyond}.",
        "worse": f"Faster, now level {level}, {beyond}.",
        # What is held is not proved: the next sentence may say that no motion is sure any more.
        "better": f"Slower, now level {level}: not yet surely slower than {-threshold_mm_yr:g} mm/yr.",
        "cleared": f"Over; it was level {level}.",
        "merged": f"{_capital(facts.zone_name)} has grown together with {other}; its alert goes on there.",
    }[type_]
    return _joined(opening, moves(facts), _how_sure(facts), *_context(facts))


def zone_sentence(facts: ZoneFacts) -> str:
    """What a zone is and does, where there is no event to tell."""
    return _joined(moves(facts), _how_sure(facts), *_context(facts))


def rule_sentence(
    type_: EventType,
    rule: str,
    level: int,
    limit_words: str,
    words: str,
    name: str,
    facts: ZoneFacts | None,
    advisory: bool = False,
) -> str:
    """One paragraph about an event of a rule other than the velocity's; an advisory is short.

    ``facts`` of None is something without a zone, or a zone without any velocity now.
    """
    title = f"{rule}, {RULE_TITLES[rule]}"
    limit = f", {limit_words}" if limit_words else ""
    opening = {
        "raised": f"Level {level} ({title}){limit}.",
        "worse": f"Worse, now level {level} ({title}){limit}.",
        "better": f"Milder, now level {level} ({title}).",
        "cleared": f"Over; it was level {level} ({title}).",
        "merged": f"{_capital(name)} has grown together with another zone ({title}).",
    }[type_]
    if facts is None:
        return _joined(opening, f"{_capital(name)}: {words}")
    if advisory:
        return _joined(opening, f"{_capital(name)} ({_where(facts)}): {words}", facts.place)
    return _joined(opening, f"{_capital(name)}: {words}", moves(facts), *_context(facts))


def _where(facts: ZoneFacts) -> str:
    return f"{area_words(facts.area_m2)} at {place_words(facts.latitude, facts.longitude)}"


def moves(facts: ZoneFacts) -> str:
    """Where it is and how fast; the core first, because the levels follow it."""
    low, high = facts.interval_mm_yr
    return (
        f"{_capital(facts.zone_name)} ({_where(facts)}) {_core(facts)} over {facts.window_words} ({facts.n_epochs} "
        f"acquisitions). {_median(facts)} {facts.median_mm_yr:+.0f} mm/yr (95 % interval {low:+.0f} to "
        f"{high:+.0f})."
    )


def _median(facts: ZoneFacts) -> str:
    """A median that is faster than the core asks for an explanation: the surroundings, which the core is held against,
    move too."""
    if facts.core_mm_yr is not None and facts.median_mm_yr < facts.core_mm_yr:
        return "Its surroundings move as well: not against them but by itself, the median of its pixels is"
    return "The median of its pixels is"


def _core(facts: ZoneFacts) -> str:
    if facts.core_mm_yr is None:
        return "shows no sure motion against its surroundings"
    speed = f"{-facts.core_mm_yr:.0f}"
    if facts.wide:
        return (
            "moves away from the satellite together with wide surroundings; its core at more than "
            f"{speed} mm/yr, which is nearly certain,"
        )
    half = f" ± {facts.core_half_interval_mm_yr:.0f}" if facts.core_half_interval_mm_yr is not None else ""
    return f"moves away from the satellite; its core at {speed}{half} mm/yr against its surroundings"


def _how_sure(facts: ZoneFacts) -> str:
    limit = f"{-facts.threshold_mm_yr:g} mm/yr"
    meaning = {
        "beyond threshold": f"its core is faster than {limit} with 95 % certainty",
        "moving": f"it moves with 95 % certainty, perhaps slower than {limit}",
        "cannot tell": "what is left of its motion, if any, cannot be told from noise",
    }[facts.evidence_class]
    return f"How sure: {meaning}."


def _context(facts: ZoneFacts) -> tuple[str, ...]:
    """Since when, what stage, where in the mine, and what cannot be seen."""
    stage = f"{_capital(facts.stage)}." if facts.stage else ""
    return _since(facts), stage, facts.place, blind_spot(facts)


def _since(facts: ZoneFacts) -> str:
    latest = f"latest acquisition {facts.epoch.isoformat()}"
    moved = (
        f"; {facts.displacement_mm:+.0f} mm since the record began"
        if facts.displacement_mm is not None
        else ""
    )
    if facts.beyond_since is None:
        return f"{_capital(latest)}{moved}."
    return f"Fast since {facts.beyond_since.isoformat()}, {latest}{moved}."


def blind_spot(facts: ZoneFacts) -> str:
    """The sentence that no alert goes without."""
    angle = f" (incidence {facts.incidence_deg:.0f}°)" if facts.incidence_deg is not None else ""
    bound = (
        "what is shown of it is a lower bound"
        if facts.lower_bound
        else "a fast centre can be faster than it is shown"
    )
    return (
        f"Blind spots: {facts.no_data_fraction:.0%} of it has no usable data, and more than {STEP_LIMIT_MM:.0f} mm "
        f"between neighbouring pixels ({facts.pixel_m:g} m) within one interferogram cannot be told apart: {bound}. "
        f"All values are along the line of sight{angle}, minus is away from the satellite; horizontal motion is mixed "
        "in."
    )


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def area_words(area_m2: float) -> str:
    return f"{area_m2 / 1e6:.2f} km²" if area_m2 >= 1e5 else f"{area_m2 / 1e4:.1f} ha"


def place_words(latitude: float, longitude: float) -> str:
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.5f}° {north}, {abs(longitude):.5f}° {east}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
