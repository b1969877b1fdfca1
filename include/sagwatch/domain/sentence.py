"""What is told about a zone, in words: what moves, how fast and how sure, since when, and what InSAR cannot see there.

Line of sight stays line of sight: nothing here turns it into subsidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sagwatch.domain.alert import RULE_TITLES, EventType
from sagwatch.domain.rules import EvidenceClass

#: Sentinel-1 C band, metres.
WAVELENGTH_M = 0.05546576
#: More line-of-sight motion between neighbouring pixels within one interferogram is ambiguous: a quarter wavelength.
STEP_LIMIT_MM = WAVELENGTH_M / 4 * 1000


@dataclass(frozen=True, slots=True)
class ZoneFacts:
    """Everything that the words about a zone are made of; velocities LOS in mm/yr, negative away."""

    zone_name: str
    latitude: float
    longitude: float
    area_m2: float
    pixel_m: float
    window_words: str
    median_mm_yr: float
    interval_mm_yr: tuple[float, float]
    p95_mm_yr: float
    contrast_mm_yr: float | None
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
    opening = {
        "raised": f"Level {level} (beyond {-threshold_mm_yr:g} mm/yr): {_moves(facts)}",
        "worse": f"Worse, now level {level} (beyond {-threshold_mm_yr:g} mm/yr): {_moves(facts)}",
        "better": f"Slower, now level {level} (beyond {-threshold_mm_yr:g} mm/yr): {_moves(facts)}",
        "cleared": f"Cleared from level {level}: {_moves(facts)}",
        "merged": f"{_capital(facts.zone_name)} has grown together with {other}; its alert goes on there. "
        f"Last seen: {_moves(facts)}",
    }[type_]
    return _joined(opening, facts)


def _joined(opening: str, facts: ZoneFacts) -> str:
    stage = f"{_capital(facts.stage)}." if facts.stage else ""
    parts = [opening, _how_sure(facts), _since(facts), stage, facts.place, blind_spot(facts)]
    return " ".join(part for part in parts if part)


def zone_sentence(facts: ZoneFacts) -> str:
    """What a zone is and does, where there is no event to tell."""
    return _joined(_capital(_moves(facts)), facts)


def rule_sentence(
    type_: EventType, rule: str, level: int, limit_words: str, words: str, name: str, facts: ZoneFacts | None
) -> str:
    """One paragraph about an event of a rule other than the velocity's.

    ``facts`` of None is something without a zone, or a zone without any velocity now.
    """
    limit = f", {limit_words}" if limit_words else ""
    opening = {
        "raised": f"Level {level} ({rule}, {RULE_TITLES[rule]}{limit}): {name}. {words}",
        "worse": f"Worse, now level {level} ({rule}, {RULE_TITLES[rule]}{limit}): {name}. {words}",
        "better": f"Milder, now level {level} ({rule}, {RULE_TITLES[rule]}): {name}. {words}",
        "cleared": f"Cleared from level {level} ({rule}, {RULE_TITLES[rule]}): {name}. {words}",
        "merged": f"{_capital(name)} has grown together with another zone ({rule}, {RULE_TITLES[rule]}).",
    }[type_]
    if facts is None:
        return opening
    return _joined(f"{opening} {_capital(_moves(facts))}", facts)


def _moves(facts: ZoneFacts) -> str:
    low, high = facts.interval_mm_yr
    text = (
        f"{facts.zone_name} ({area_words(facts.area_m2)} at {place_words(facts.latitude, facts.longitude)}) moves at "
        f"{facts.median_mm_yr:+.0f} mm/yr along the line of sight (median; 95 % interval {low:+.0f} to {high:+.0f}; "
        f"minus is away from the satellite) over {facts.window_words}; its fastest twentieth reaches "
        f"{facts.p95_mm_yr:+.0f} mm/yr"
    )
    if facts.contrast_mm_yr is not None:
        text += f", its core {facts.contrast_mm_yr:+.0f} mm/yr against its surroundings"
    return text + "."


def _how_sure(facts: ZoneFacts) -> str:
    meaning = {
        "beyond threshold": "the fast part is beyond the threshold with 95 % certainty",
        "moving": "it surely moves, but whether beyond the threshold is not certain",
        "cannot tell": "the data cannot tell whether it still moves",
    }[facts.evidence_class]
    return f"How sure: {meaning} ({facts.n_epochs} acquisitions, deviations corrected for correlated noise)."


def _since(facts: ZoneFacts) -> str:
    latest = f"latest acquisition {facts.epoch.isoformat()}"
    since = (
        f"Beyond the first level since {facts.beyond_since.isoformat()}, {latest}"
        if facts.beyond_since
        else (_capital(latest))
    )
    moved = (
        f", {facts.displacement_mm:+.0f} mm since the record began"
        if facts.displacement_mm is not None
        else ""
    )
    return f"{since}{moved}."


def blind_spot(facts: ZoneFacts) -> str:
    """The sentence that no alert goes without."""
    angle = f" (incidence {facts.incidence_deg:.0f}°)" if facts.incidence_deg is not None else ""
    return (
        f"Blind spots: InSAR can under-read fast centres; more than {STEP_LIMIT_MM:.1f} mm between neighbouring "
        f"pixels of {facts.pixel_m:g} m within one interferogram cannot be seen. {facts.no_data_fraction:.0%} of the "
        f"zone has no usable data. {_bound(facts)}All values are along the line of sight{angle}, not subsidence; "
        "horizontal motion is mixed in."
    )


def _bound(facts: ZoneFacts) -> str:
    return "What is shown of it is a lower bound. " if facts.lower_bound else ""


def area_words(area_m2: float) -> str:
    return f"{area_m2 / 1e6:.2f} km²" if area_m2 >= 1e5 else f"{area_m2 / 1e4:.1f} ha"


def place_words(latitude: float, longitude: float) -> str:
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.5f}° {north}, {abs(longitude):.5f}° {east}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
