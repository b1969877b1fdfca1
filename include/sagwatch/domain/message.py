"""Messages to people: one set of facts, written as plain text, as HTML and for Slack.

Whatever a site file says (its title, a contact's name) is text here and nothing else: control characters go, HTML and
Slack get their own escapes, and a subject is one line.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from statistics import median
from types import MappingProxyType
from typing import Any, Literal

from sagwatch.domain.alert import RULE_TITLES, VELOCITY_RULE, AlertEvent
from sagwatch.domain.ids import opaque_id
from sagwatch.domain.judgement import Judged
from sagwatch.domain.sentence import area_words, place_words

NO_OTHER_VIEWS: Mapping[str, Sequence[OtherView]] = MappingProxyType({})
NOT_A_WARNING = (
    "This is not a collapse warning: brittle or fast events can happen without any sign in InSAR, and silence "
    "does not mean that the ground is stable."
)
_SUBJECT_LENGTH = 180
_LINES_OF_A_SUMMARY = 100
#: What a reader of Slack has read just above; a mail's table is complete.
_TOLD_IN_THE_OPENING = frozenset(
    {
        "Where",
        "How sure",
        "Shape",
        "Without usable data",
        "Stage",
        "In the mine",
        "Fast since",
        "Reference",
    }
)
_RULE_NEWS = {
    "R1-history": "fast over the whole record",
    "R2": "trend has changed",
    "R3": "new zone",
    "R4": "ground accelerates",
    "R5": "displacement",
    "R6": "tilt at an asset",
    "R7": "blind spot, please survey",
    "R8": "the data, not the ground: the reference seems to move",
}
_NEWS = {
    "raised": "ground is moving",
    "worse": "ground is moving faster",
    "better": "ground is moving more slowly",
    "cleared": "alert cleared",
    "merged": "zone merged",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Which site, and which data a message rests on."""

    site_title: str
    track_id: str
    direction: str
    revision_id: str
    revision_number: int
    interferograms: int
    input_sha256: str
    reference_latitude: float
    reference_longitude: float
    latest_epoch: date
    next_expected: date | None
    #: One sentence about input that will be replaced (`provisional.provisional_sentence`); None: there is none.
    provisional: str | None = None
    #: What displacements refer to, `DatumRules.refer_to` of the site.
    refer_to: Literal["point", "steady_ground"] = "point"


@dataclass(frozen=True, slots=True)
class OtherView:
    """What another track of the site shows where a zone lies.

    Attributes
    ----------
    epoch
        The acquisition that showed its ``zone``; where it has none, the newest one that was judged.
    zone
        The name of its zone that covers most of this one; None if there is none.
    windows
        Of that zone's evidence.
    """

    track: str
    direction: str
    epoch: date
    zone: str | None = None
    windows: tuple[Mapping[str, Any], ...] = ()

    @property
    def words(self) -> str:
        who = f"track {self.track} ({self.direction})"
        if self.zone is None:
            return f"{who} shows no zone there up to {self.epoch.isoformat()}"
        latest = min(self.windows, key=lambda window: window["days"])
        return (
            f"{who} shows it too, as {self.zone}: on {self.epoch.isoformat()}, last {latest['days']} days: "
            f"{_core(latest)}, along its own line of sight"
        )


@dataclass(frozen=True, slots=True)
class Letter:
    """A message before it is addressed: a subject, an opening paragraph, facts, and closing paragraphs.

    Slack gets the same opening and all facts that the opening has not told already.
    """

    subject: str
    opening: str
    facts: tuple[tuple[str, str], ...]
    closing: tuple[str, ...]

    def as_text(self) -> str:
        facts = "\n".join(f"{name}: {plain(value)}" for name, value in self.facts)
        return "\n\n".join([plain(self.opening), facts, *map(plain, self.closing)]) + "\n"

    def as_html(self) -> str:
        rows = "".join(
            f'<tr><th align="left" valign="top">{_html(name)}</th><td>{_html(value)}</td></tr>'
            for name, value in self.facts
        )
        closing = "".join(f"<p>{_html(paragraph)}</p>" for paragraph in self.closing)
        return (
            f"<html><body><h2>{_html(self.subject)}</h2><p>{_html(self.opening)}</p>"
            f'<table cellpadding="4">{rows}</table>{closing}</body></html>'
        )

    def as_slack(self) -> str:
        shown = [(name, value) for name, value in self.facts if name not in _TOLD_IN_THE_OPENING]
        facts = "\n".join(f"• {_slack(name)}: {_slack(value)}" for name, value in shown)
        return "\n".join(
            [f"*{_slack(self.subject)}*", _slack(self.opening), facts, *map(_slack, self.closing)]
        )


def plain(text: str) -> str:
    """Without control, direction-changing and invisible characters; line breaks become spaces."""
    spaced = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn"))


def subject_line(text: str) -> str:
    """One line of bounded length, safe as a mail header."""
    line = " ".join(plain(text).split())
    return line if len(line) <= _SUBJECT_LENGTH else line[: _SUBJECT_LENGTH - 1] + "…"


def _html(text: str) -> str:
    return html.escape(plain(text), quote=True)


def _slack(text: str) -> str:
    """Slack reads links, mentions and ``<!channel>`` between angle brackets only, so these are escaped as it asks."""
    return plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def next_expected(epochs: Sequence[date]) -> date | None:
    """When the next acquisition is due, from the usual pause between the latest ones."""
    latest = sorted(epochs)[-10:]
    pauses = [(later - earlier).days for earlier, later in pairwise(latest)]
    return date.fromordinal(latest[-1].toordinal() + round(median(pauses))) if pauses else None


def message_id(subject_id: str, channel: str, recipient: str) -> str:
    """The same on every repeat; names neither the site nor the recipient."""
    return f"<{subject_id}.{opaque_id('contact', channel, recipient, length=12)}@sagwatch>"


def event_letter(
    event: AlertEvent, origin: Origin, as_of: datetime, others: Sequence[OtherView] = ()
) -> Letter:
    """About one event: what, where, how sure, blind spots, since when, which data, what it is not, what comes next."""
    found = event.evidence
    level = max(event.to_level, event.from_level) if event.type in ("cleared", "merged") else event.to_level
    facts = [
        ("Rule", f"{event.rule} ({RULE_TITLES[event.rule]}), {event.type}, level {level}"),
        (
            "Zone" if event.zone_id is not None else "About",
            f"{found['zone']} (id {event.subject}), alert {event.alert_id}, event {event.id}",
        ),
        *_where(found),
        *_values(found),
        *_movement(found),
        *(("Other side", other.words) for other in others),
        *_since(event, as_of),
        *_data(origin),
    ]
    subject = f"[Sagwatch] {origin.site_title}: {_news(event)}, level {level}, {found['zone']}{_speed(event)}"
    opening = f"{origin.site_title}. {event.sentence}"
    return Letter(subject_line(subject), opening, tuple(facts), _closing(origin))


def _speed(event: AlertEvent) -> str:
    """The core's speed, for the subject of a message about ground that moves faster than before."""
    if event.rule != VELOCITY_RULE or event.type not in ("raised", "worse"):
        return ""
    told = {window["days"]: window for window in event.evidence.get("windows", ())}
    window = told.get(event.evidence.get("telling_window_days"))
    if window is None or window["core_mm_yr"] is None:
        return ""
    return f", {window['core_mm_yr']:+.0f} mm/yr"


def _news(event: AlertEvent) -> str:
    if event.rule == VELOCITY_RULE:
        return _NEWS[event.type]
    over = {"cleared": "over: ", "merged": "zone merged: ", "better": "milder: "}.get(event.type, "")
    return f"{over}{_RULE_NEWS[event.rule]}"


def _movement(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Stage, place in the mine, tilt, volume: what is known of them."""
    lines = []
    if found.get("stage_words"):
        stage = found["stage_words"].removeprefix("stage of movement: ")
        rate = found.get("stage_rate_words")
        lines.append(("Stage", f"{stage}; {rate}" if rate else stage))
    if found.get("place_words"):
        lines.append(("In the mine", found["place_words"].removeprefix("In the mine: ")))
    if found.get("tilt_max_mm_m") is not None and found.get("volume_m3") is not None:
        lines.append(
            (
                "Shape",
                f"steepest gradient {found['tilt_max_mm_m']:.1f} mm/m, volume {found['volume_m3']:+,.0f} m³ (both "
                f"along the line of sight), {found['blind_share']:.0%} of it blind",
            )
        )
    return lines


def digest_letter(
    site_title: str,
    month: str,
    lines: Sequence[tuple[str, str]],
    open_alerts: Sequence[tuple[str, str]],
    history_only_points: int,
    threshold_mm_yr: float,
    provisional: Sequence[str] = (),
) -> Letter:
    """The month's advisories, what is open, and what only the whole record shows.

    ``lines`` are (day, what), ``open_alerts`` (name, sentence); the points are those of rule R1-history;
    ``provisional`` has a sentence for each track where something is.
    """
    opening = (
        f"{site_title}, digest of {month}: {_count(len(lines), 'advisory', 'advisories')}, "
        f"{_count(len(open_alerts), 'open alert')}. What was worth waking somebody for had a message of its own."
    )
    facts = [*lines[:_LINES_OF_A_SUMMARY]]
    if len(lines) > _LINES_OF_A_SUMMARY:
        facts.append(("and", f"{len(lines) - _LINES_OF_A_SUMMARY} more: see analyst.alert_history"))
    facts += [(f"Open: {name}", text) for name, text in open_alerts[:_LINES_OF_A_SUMMARY]]
    if history_only_points:
        facts.append(
            (
                "R1-history",
                f"{history_only_points} points are beyond {-threshold_mm_yr:g} mm/yr over the whole record but in "
                "no recent window: motion of the past, no alert",
            )
        )
    subject = f"[Sagwatch] {site_title}: digest of {month}, {_count(len(open_alerts), 'alert')} open"
    return Letter(subject_line(subject), opening, tuple(facts), (*provisional, NOT_A_WARNING))


def summary_letter(
    events: Sequence[AlertEvent],
    all_events: Sequence[AlertEvent],
    origin: Origin,
    history_only_points: int,
    threshold_mm_yr: float,
    standing: Mapping[str, str],
) -> Letter:
    """About everything that is too old for messages of its own: what happened in order, and what is open now.

    ``all_events`` are those of the whole publication: an alert of the past may have been cleared lately. ``standing``
    is what `how_alerts_stand` gives; an alert that it does not know is told by its last event, with its date.
    """
    ordered = sorted(events, key=lambda event: (event.epoch, event.id))
    told = {event.alert_id for event in ordered}
    by_time = sorted(all_events, key=lambda event: (event.epoch, event.id))
    last = {event.alert_id: event for event in by_time if event.alert_id in told}
    still_open = sum(event.to_state in ("raised", "clearing") for event in last.values())
    opening = (
        f"{origin.site_title}: {_count(len(ordered), 'event')} of {_count(len(last), 'alert')} between "
        f"{ordered[0].epoch} and "
        f"{ordered[-1].epoch} were found in older data and are told together; still open: {still_open}."
    )
    facts = [(event.epoch.isoformat(), _event_line(event)) for event in ordered[:_LINES_OF_A_SUMMARY]]
    if len(ordered) > _LINES_OF_A_SUMMARY:
        left = len(ordered) - _LINES_OF_A_SUMMARY
        facts.append(("and", f"{left} more: see the view analyst.alert_history of the database"))
    facts += [
        (
            f"Open: {event.evidence['zone']}",
            standing.get(event.alert_id, f"On {event.epoch.isoformat()}: {event.sentence}"),
        )
        for event in _open_now(last)
    ]
    if history_only_points:
        facts.append(
            (
                "Advisory",
                f"{history_only_points} points are beyond {-threshold_mm_yr:g} mm/yr over the whole record but in "
                "no recent window: motion of the past, no alert",
            )
        )
    facts += _data(origin)
    subject = (
        f"[Sagwatch] {origin.site_title}: summary of {_count(len(ordered), 'earlier event')}, "
        f"{_count(still_open, 'alert')} open"
    )
    return Letter(subject_line(subject), opening, tuple(facts), _closing(origin))


def how_alerts_stand(
    newest: Judged, others: Mapping[str, Sequence[OtherView]] = NO_OTHER_VIEWS
) -> dict[str, str]:
    """What the newest acquisition says about each open alert whose zone it shows: since when, and how it moves now.

    ``others`` are the views of other tracks, by zone.
    """
    shown = {snapshot.zone_id: snapshot.evidence for snapshot in newest.snapshots}
    standing = {}
    for alert in newest.state.alerts:
        found = shown.get(alert.subject)
        if not alert.is_open or alert.raised_epoch is None or found is None:
            continue
        rule = f"{alert.rule} ({RULE_TITLES[alert.rule]})"
        since = f"{rule}, level {alert.level}, raised {alert.raised_epoch.isoformat()}."
        reads = found["rules"].get(alert.rule)
        now = f"{reads} {found['sentence']}" if reads else found["sentence"]
        # The sentence is about the window that holds the level; the shortest one knows first that it slows down.
        latest = min(found["windows"], key=lambda window: window["days"])
        speed = f"last {latest['days']} days: {_core(latest)}"
        sides = "".join(
            f" {view.words[0].upper()}{view.words[1:]}." for view in others.get(alert.subject, ())
        )
        standing[alert.id] = f"{since} On {newest.epoch.isoformat()}, {speed}. {now}{sides}"
    return standing


def _count(n: int, noun: str, several: str = "") -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {several or noun + 's'}"


def _open_now(last: Mapping[str, AlertEvent]) -> list[AlertEvent]:
    open_ = [event for event in last.values() if event.to_state in ("raised", "clearing")]
    return sorted(open_, key=lambda event: (-event.to_level, event.alert_id))[:_LINES_OF_A_SUMMARY]


def _event_line(event: AlertEvent) -> str:
    found = event.evidence
    place = ", ".join(value for _, value in _where(found))
    return f"{event.rule} {found['zone']} {event.type}, level {event.from_level} to {event.to_level}; {place}"


def _where(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "latitude" not in found:
        return [("Where", "no place: it is about the track's data")]
    place = place_words(found["latitude"], found["longitude"])
    return [("Where", f"centre {place}, {area_words(found['area_m2'])}")]


def _values(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How fast and how sure, window by window."""
    lines = []
    for window in found.get("windows", ()):
        low, high = window["interval_mm_yr"]
        lines.append(
            (
                f"Last {window['days']} days",
                f"{_core(window)}; median {window['median_mm_yr']:+.0f} mm/yr (95 % interval {low:+.0f} to "
                f"{high:+.0f}), fastest twentieth {window['p95_mm_yr']:+.0f}; {window['n_epochs']} acquisitions, "
                "deviation "
                f"{window['sd_mm_yr']:.1f} at a noise correlation of {window['noise_correlation']:.2f}",
            )
        )
    if "evidence_class" in found:
        lines.append(("How sure", found["evidence_class"]))
        lines.append(("Without usable data", f"{found['no_data_fraction']:.0%} of the zone"))
    return lines


def _core(window: Mapping[str, Any]) -> str:
    """What the levels are judged on."""
    if window["core_mm_yr"] is None:
        return "no sure motion"
    if window["core_is_wide"]:
        return (
            f"core beyond {window['core_mm_yr']:+.0f} mm/yr, nearly certain (it moves with wide surroundings)"
        )
    half = window["core_half_interval_mm_yr"]
    return f"core {window['core_mm_yr']:+.0f} ± {half:.0f} mm/yr against its surroundings"


def _since(event: AlertEvent, as_of: datetime) -> list[tuple[str, str]]:
    since = event.evidence.get("beyond_since")
    days = (as_of.date() - event.epoch).days
    when = f"acquisition of {event.epoch.isoformat()}, judged {_count(days, 'day')} later"
    return [("Fast since", since), ("Decided on", when)] if since else [("Decided on", when)]


def _data(origin: Origin) -> list[tuple[str, str]]:
    return [
        (
            "Data",
            f"track {origin.track_id} ({origin.direction}), revision {origin.revision_number} "
            f"({origin.revision_id[:12]}), "
            f"{origin.interferograms} interferograms (list {origin.input_sha256[:12]}), latest acquisition "
            f"{origin.latest_epoch.isoformat()}",
        ),
        ("Reference", _reference(origin)),
    ]


def _reference(origin: Origin) -> str:
    point = place_words(origin.reference_latitude, origin.reference_longitude)
    if origin.refer_to == "point":
        return f"{point}: all motion is relative to it"
    return (
        "the mean of the steady ground (coherent, not moving, off the faces): all motion is relative to it; "
        f"interferograms are tied together at {point}"
    )


def _closing(origin: Origin) -> tuple[str, ...]:
    provisional = () if origin.provisional is None else (origin.provisional,)
    return (*provisional, NOT_A_WARNING, _what_next(origin))


def _what_next(origin: Origin) -> str:
    if origin.next_expected is None:
        return "When the next acquisition is due is not known yet."
    return f"The next acquisition is expected on {origin.next_expected.isoformat()}."
