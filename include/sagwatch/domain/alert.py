"""A rule's state about a zone, and how an update changes it.

::

    pending ──updates_to_raise──► raised(level) ──below──► clearing ──updates_to_clear──► cleared
                                     ▲  worse, better          │
                                     └────────beyond───────────┘           (merged: the zone became part of another)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal

from sagwatch.domain.ids import opaque_id

Phase = Literal["pending", "raised", "clearing", "cleared", "merged"]
EventType = Literal["raised", "worse", "better", "cleared", "merged"]

#: Velocity threshold on windows; rule numbers as in the documentation.
VELOCITY_RULE = "R1"
HISTORY_RULE = "R1-history"
DATA_RULE = "R8"
#: What each rule is about, for people.
RULE_TITLES = {
    "R1": "velocity along the line of sight",
    "R1-history": "velocity of the whole record",
    "R2": "change of trend",
    "R3": "new zone",
    "R4": "acceleration (advisory)",
    "R5": "displacement along the line of sight",
    "R6": "tilt and curvature at an asset",
    "R7": "blind spot",
    "R8": "health of the data",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One episode of a rule about a zone, or about something else that has no zone (an asset, the reference point).

    ``updates_beyond`` counts the updates in a row that ask for a higher level, ``updates_below`` those that
    allow a lower one; ``pending_level`` is the level on which they agree.
    """

    id: str
    #: A zone's id, or what else it is about, as ``asset/...`` or ``reference/...``.
    subject: str
    rule: str
    episode: int
    state: Phase
    level: int
    pending_level: int
    updates_beyond: int
    updates_below: int
    raised_epoch: date | None
    last_epoch: date
    cleared_epoch: date | None
    rules_sha256: str

    @property
    def zone_id(self) -> str | None:
        """The zone that it is about."""
        return None if "/" in self.subject else self.subject

    @property
    def is_open(self) -> bool:
        """Raised and not over."""
        return self.state in ("raised", "clearing")

    @property
    def is_over(self) -> bool:
        return self.state in ("cleared", "merged")


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """What happened to an alert at an acquisition: decided once, never changed."""

    id: str
    alert_id: str
    subject: str
    epoch: date
    type: EventType
    from_state: Phase
    to_state: Phase
    from_level: int
    to_level: int
    evidence: dict[str, Any]
    sentence: str
    rule: str = VELOCITY_RULE
    tell: str = "page"

    @property
    def zone_id(self) -> str | None:
        return None if "/" in self.subject else self.subject

    @property
    def told(self) -> Literal["page", "digest"]:
        """What gets milder, merges or ends never speaks louder than a digest, but for the end of what people watch or
        wait for: ground that no longer moves fast, and alerts that were held."""
        if self.type in ("better", "merged"):
            return "digest"
        if self.type == "cleared" and self.rule not in (VELOCITY_RULE, DATA_RULE):
            return "digest"
        return "page" if self.tell == "page" else "digest"

    @property
    def is_news(self) -> bool:
        """Worth a message of its own; the others are told in summaries and digests."""
        return self.told == "page"


@dataclass(frozen=True, slots=True)
class Reading:
    """What an acquisition says about a zone, in levels (0 is below the first).

    ``level_now`` is what it proves, ``level_held`` what it does not disprove: the levels above which the value has not
    risen by the deadband. ``level_held`` is never below ``level_now``.
    """

    level_now: int
    level_held: int

    def __post_init__(self) -> None:
        if self.level_held < self.level_now:
            raise ValueError(f"level {self.level_now} is proved and yet level {self.level_held} is disproved")


@dataclass(frozen=True, slots=True)
class Change:
    type: EventType
    before: Alert
    after: Alert


def event_id(alert_id: str, epoch: date, type_: EventType) -> str:
    return opaque_id("event", alert_id, epoch, type_)


def begin_alert(
    subject: str, episode: int, epoch: date, rules_sha256: str, rule: str = VELOCITY_RULE
) -> Alert:
    return Alert(
        id=opaque_id("alert", subject, rule, episode),
        subject=subject,
        rule=rule,
        episode=episode,
        state="pending",
        level=0,
        pending_level=0,
        updates_beyond=0,
        updates_below=0,
        raised_epoch=None,
        last_epoch=epoch,
        cleared_epoch=None,
        rules_sha256=rules_sha256,
    )


def advance(
    alert: Alert, reading: Reading | None, epoch: date, updates_to_raise: int, updates_to_clear: int
) -> tuple[Alert, Change | None]:
    """Take one update into account.

    ``reading`` of None means too little data: nothing is proved, nothing is disproved and no count goes on, so
    missing data neither raises nor clears.
    """
    if reading is None or alert.is_over:
        return alert, None
    if reading.level_now > alert.level:
        return _beyond(alert, reading.level_now, epoch, updates_to_raise)
    if alert.level > 0 and reading.level_held < alert.level:
        return _below(alert, reading.level_held, epoch, updates_to_clear)
    state: Phase = "raised" if alert.is_open else "pending"
    calm = replace(alert, state=state, pending_level=0, updates_beyond=0, updates_below=0, last_epoch=epoch)
    return calm, None


def _beyond(alert: Alert, level: int, epoch: date, updates_to_raise: int) -> tuple[Alert, Change | None]:
    agreed = min(alert.pending_level, level) if alert.updates_beyond else level
    counted = replace(
        alert,
        state="raised" if alert.is_open else "pending",
        pending_level=agreed,
        updates_beyond=alert.updates_beyond + 1,
        updates_below=0,
        last_epoch=epoch,
    )
    if counted.updates_beyond < updates_to_raise:
        return counted, None
    after = replace(
        counted,
        state="raised",
        level=agreed,
        pending_level=0,
        updates_beyond=0,
        raised_epoch=alert.raised_epoch or epoch,
    )
    return after, Change("worse" if alert.is_open else "raised", alert, after)


def _below(alert: Alert, level: int, epoch: date, updates_to_clear: int) -> tuple[Alert, Change | None]:
    agreed = max(alert.pending_level, level) if alert.updates_below else level
    counted = replace(
        alert,
        state="clearing" if agreed == 0 else "raised",
        pending_level=agreed,
        updates_beyond=0,
        updates_below=alert.updates_below + 1,
        last_epoch=epoch,
    )
    if counted.updates_below < updates_to_clear:
        return counted, None
    over = agreed == 0
    # This update allows less than all of them together: it is the first of the next run.
    goes_on = level < agreed
    after = replace(
        counted,
        state="cleared" if over else "raised",
        level=agreed,
        pending_level=level if goes_on else 0,
        updates_below=1 if goes_on else 0,
        cleared_epoch=epoch if over else None,
    )
    return after, Change("cleared" if over else "better", alert, after)


def close_unraised(alert: Alert, epoch: date) -> Alert:
    """A suspicion that never became an alert ends with its zone, without an event."""
    return replace(alert, state="cleared", cleared_epoch=epoch, last_epoch=epoch, updates_beyond=0)


def merge_alert(alert: Alert, epoch: date) -> tuple[Alert, Change | None]:
    """The zone became part of another: the alert goes on there, and says so if people know of it."""
    after = replace(alert, state="merged", last_epoch=epoch, cleared_epoch=epoch)
    return after, Change("merged", alert, after) if alert.is_open else None


def inherit(alert: Alert, swallowed: Alert, updates_to_raise: int) -> Alert:
    """What the surviving zone's alert takes over from one that merged into it: the evidence gathered so far.

    An alert that people were told about need not prove itself a second time: the next update at its level raises it.
    """
    level = swallowed.level if swallowed.is_open else swallowed.pending_level
    gathered = updates_to_raise - 1 if swallowed.is_open else swallowed.updates_beyond
    if level <= alert.level or gathered <= alert.updates_beyond:
        return alert
    return replace(alert, pending_level=level, updates_beyond=gathered)
