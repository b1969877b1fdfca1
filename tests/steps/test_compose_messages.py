"""What people are told: complete, harmless whatever a site file says, and once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from functools import lru_cache
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from sagwatch.adapters.database.models import Message
from sagwatch.domain.alert import AlertEvent
from sagwatch.domain.judgement import Judged
from sagwatch.domain.message import Origin, event_letter, how_alerts_stand, next_expected, plain, subject_line
from sagwatch.domain.rules import rules_sha256
from sagwatch.steps.compose_messages import SLACK_RECIPIENT, compose_messages, draft_messages, recipients
from tests.database.published import make_revision, make_site
from tests.domain.moving_ground import RULES, TRACK, Basin, days_of, grid_of, invent_ground, live_through

SHAPE = (64, 64)
CONTACTS = [
    {"name": "Shift office", "email": "shift@example.org", "slack": True},
    {"name": "Director", "email": "director@example.org", "least_level": 3},
]
ORIGIN = Origin(
    site_title="An invented mine",
    track_id=TRACK,
    direction="ascending",
    revision_id="revision-1",
    revision_number=7,
    interferograms=57,
    input_sha256="0123456789abcdef",
    reference_latitude=37.4,
    reference_longitude=110.8,
    latest_epoch=date(2021, 3, 1),
    next_expected=date(2021, 3, 13),
)


PROVISIONAL = (
    "Provisional: the last 3 acquisitions have preliminary weather data. These results may still change."
)


@pytest.mark.parametrize("channel", ["mail", "slack"])
@pytest.mark.parametrize("days_later", [1, 400])
def test_single_messages_and_summaries_say_what_is_provisional(channel, days_later):
    event = next(one for verdict in judged() for one in verdict.events if one.is_news)
    as_of = datetime(event.epoch.year, event.epoch.month, event.epoch.day, tzinfo=UTC) + timedelta(
        days=days_later
    )
    contacts = [{"name": "Shift", "email": "a@example.org", "slack": channel == "slack"}]
    site = make_site("invented", contacts=contacts)

    def bodies(origin: Origin) -> list[str]:
        drafts = draft_messages(site, [event], origin, 0, {}, as_of)
        texts = [text for one in drafts if one.channel == channel for text in (one.body_text, one.body_html)]
        return [text for text in texts if text]

    told = bodies(replace(ORIGIN, provisional=PROVISIONAL))
    assert told
    assert all(text.count(PROVISIONAL) == 1 for text in told)
    assert not any("Provisional" in text for text in bodies(ORIGIN))


@lru_cache(maxsize=1)
def judged() -> tuple[Judged, ...]:
    """A basin that is raised, gets worse, and clears."""
    return tuple(live_through(invent_ground(51, 60, SHAPE, [Basin(-400, 20, 40)], 6.0), range(12, 60)))


def events() -> list[AlertEvent]:
    return [event for one in judged() for event in one.events]


def site_with(title: str = "An invented mine"):
    return make_site("invented", *SHAPE, contacts=CONTACTS, title=title)


def at(event: AlertEvent, days: int = 3) -> datetime:
    return datetime(event.epoch.year, event.epoch.month, event.epoch.day, tzinfo=UTC) + timedelta(days=days)


def test_each_recipient_gets_what_it_asked_for():
    found = [(r.channel, r.address, r.least_level) for r in recipients(site_with())]

    assert found == [
        ("mail", "shift@example.org", 1),
        ("slack", SLACK_RECIPIENT, 1),
        ("mail", "director@example.org", 3),
    ]


def test_two_contacts_behind_one_address_get_one_message():
    site = make_site(
        contacts=[
            {"name": "a", "slack": True, "least_level": 2},
            {"name": "b", "slack": True, "least_level": 1},
        ]
    )

    assert [(r.channel, r.least_level) for r in recipients(site)] == [("slack", 1)]


def test_a_young_event_has_a_message_for_each_recipient_and_later_ones_answer_the_first():
    raised, worse = events()[0], next(e for e in events() if e.type == "worse")
    assert (raised.type, worse.alert_id) == ("raised", raised.alert_id)

    drafts = draft_messages(site_with(), [raised, worse], ORIGIN, 0, {}, at(worse))

    told = {(d.recipient, d.event_id): d for d in drafts}
    first = told["shift@example.org", raised.id]
    answer = told["shift@example.org", worse.id]
    assert first.in_reply_to is None
    assert answer.in_reply_to == first.message_id
    assert first.message_id.startswith(f"<{raised.id}.")
    assert first.message_id.endswith("@sagwatch>")
    assert ("director@example.org", worse.id) in told or worse.to_level < 3
    assert len({d.dedupe_key for d in drafts}) == len({d.message_id for d in drafts}) == len(drafts)
    assert drafts == draft_messages(site_with(), [raised, worse], ORIGIN, 0, {}, at(worse))


def test_a_milder_alert_has_no_message_of_its_own():
    better = next(e for e in events() if e.type == "better")

    assert draft_messages(site_with(), [better], ORIGIN, 0, {}, at(better)) == []


def test_a_first_fill_is_told_together_and_only_the_young_one_by_one():
    last = events()[-1]
    as_of = at(last)

    drafts = draft_messages(site_with(), events(), ORIGIN, 12, {}, as_of)

    shift = [d for d in drafts if d.recipient == "shift@example.org"]
    assert [d.kind for d in shift] == ["summary", *["alert"] * (len(shift) - 1)]
    young = [e for e in events() if (as_of.date() - e.epoch).days <= 60 and e.is_news]
    assert [d.event_id for d in shift[1:]] == [e.id for e in young]
    summary = shift[0].body_text
    for event in (e for e in events() if e.tell == "page"):
        assert (event.epoch.isoformat() in summary) == ((as_of.date() - event.epoch).days > 60)
    assert "12 points are beyond 40 mm/yr over the whole record" in summary
    assert "still open: 0." in summary, "it was cleared by an event that is told in a message of its own"
    ago = draft_messages(site_with(), events()[:1], ORIGIN, 0, {}, at(events()[0], 100))[0]
    assert "1 event of 1 alert between" in ago.body_text
    assert "still open: 1." in ago.body_text


def test_a_summary_tells_when_an_alert_was_raised_and_how_it_stands_now():
    raised = events()[0]
    until = next(one for one in judged() if any(e.type == "better" for e in one.events))
    as_of = at(raised, 400)
    draft = draft_messages(site_with(), [raised], ORIGIN, 0, {}, as_of, how_alerts_stand(until))[0]
    (zone,) = (snapshot for snapshot in until.snapshots if snapshot.zone_id == raised.zone_id)

    (line,) = (text for text in draft.body_text.splitlines() if text.startswith("Open: "))

    latest = min(zone.windows, key=lambda window: window.days)
    assert latest.days < zone.window.days, "the window that holds the level is a longer one"
    speed = f"{latest.judged_mm_yr:+.0f} ± {latest.judged_half_interval_mm_yr:.0f} mm/yr"
    assert f"raised {raised.epoch}. On {until.epoch}, last {latest.days} days: core {speed}" in line
    assert zone.evidence["sentence"] in line
    assert f"its core at {-zone.window.judged_mm_yr:.0f}" in line
    assert raised.sentence not in line
    without = draft_messages(site_with(), [raised], ORIGIN, 0, {}, as_of)[0].body_text
    assert f"On {raised.epoch}: {raised.sentence}" in without


def test_what_the_newest_acquisition_does_not_show_has_no_standing_of_now():
    newest = judged()[-1]
    assert not any(alert.is_open and alert.rule == "R1" for alert in newest.state.alerts)

    standing = how_alerts_stand(newest)

    assert events()[0].alert_id not in standing


def test_an_old_set_of_events_has_one_summary_whenever_it_is_asked_for():
    years_later = at(events()[-1], days=1000)

    drafts = draft_messages(site_with(), events(), ORIGIN, 0, {}, years_later)

    assert [(d.kind, d.recipient) for d in drafts] == [
        ("summary", "shift@example.org"),
        ("summary", SLACK_RECIPIENT),
        ("summary", "director@example.org"),
    ]
    again = draft_messages(site_with(), events(), ORIGIN, 0, {}, years_later + timedelta(days=1))
    assert [d.dedupe_key for d in again] == [d.dedupe_key for d in drafts]


@pytest.mark.parametrize("channel", ["mail", "slack"])
@pytest.mark.parametrize("kind", ["raised", "worse", "cleared"])
def test_a_message_stands_alone(channel, kind):
    event = next(e for e in events() if e.type == kind and e.rule == "R1")
    draft = next(
        d for d in draft_messages(site_with(), [event], ORIGIN, 0, {}, at(event, 5)) if d.channel == channel
    )

    table = "" if channel == "slack" else "37.40000° N, 110.80000° E: all motion is relative to it"
    for said in (
        "R1 (velocity along the line of sight)",
        "level",
        event.evidence["zone"],
        event.zone_id,
        event.id,
        "° N",
        "km²" if event.evidence["area_m2"] >= 1e5 else "ha",
        "95 % interval",
        "How sure: ",
        "noise correlation",
        "of it has no usable data",
        "within one interferogram cannot be told apart",
        f"acquisition of {event.epoch.isoformat()}, judged 5 days later",
        "revision 7 (revision-1)",
        "57 interferograms (list 0123456789ab)",
        table,
        "not a collapse warning",
        "silence does not mean that the ground is stable",
        "next acquisition is expected on 2021-03-13",
    ):
        assert said in draft.body_text
    assert draft.body_text.count("How sure: ") == (1 if channel == "slack" else 2), (
        "Slack is told nothing twice"
    )
    assert "vertical" not in draft.body_text
    assert ("Fast since" in draft.body_text) == (event.evidence["beyond_since"] is not None)


@pytest.mark.parametrize("channel", ["mail", "slack"])
def test_a_message_does_not_call_a_point_the_datum_where_steady_ground_is(channel):
    event = next(e for e in events() if e.rule == "R1")
    origin = replace(ORIGIN, refer_to="steady_ground")

    drafts = draft_messages(site_with(), [event], origin, 0, {}, at(event, 5))

    text = next(draft.body_text for draft in drafts if draft.channel == channel)
    assert "reference point" not in text
    assert "N, 110.80000° E: all motion" not in text
    if channel == "mail":
        assert "Reference: the mean of the steady ground" in text
        assert "tied together at 37.40000° N, 110.80000° E" in text


def test_one_day_later_is_one_day():
    event = next(e for e in events() if e.type == "raised" and e.rule == "R1")
    draft = draft_messages(site_with(), [event], ORIGIN, 0, {}, at(event, 1))[0]
    assert "judged 1 day later" in draft.body_text


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


HOSTILE = [
    "Mine\r\nBcc: everybody@example.org",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "<!channel> <https://evil.example|click> & <@U123>",
    "\u202egnp.exe\u2066",
    'quote" onmouseover="x',
    "\x00\x1b[31m\u2028line",
]


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=200)))
def test_a_hostile_title_is_text_and_nothing_else(title):
    event = events()[0]

    letter = event_letter(event, replace(ORIGIN, site_title=title), at(event))

    mail = EmailMessage()
    mail["Subject"] = letter.subject  # refuses line breaks
    assert mail.keys() == ["Subject"]
    assert letter.subject == " ".join(letter.subject.split())
    assert len(letter.subject) <= 180
    text, slack = letter.as_text(), letter.as_slack()
    assert not set(text + slack + letter.as_html()) & set("\x00\r\x1b\u2028\u202e\u2066")
    assert "<" not in slack
    assert ">" not in slack
    assert text.count("\n") == event_letter(event, ORIGIN, at(event)).as_text().count("\n")
    seen = Tags()
    seen.feed(letter.as_html())
    assert seen.tags == {"html", "body", "h2", "p", "table", "tr", "th", "td"}
    assert seen.attributes == {"align", "valign", "cellpadding"}


def test_ordinary_writing_survives():
    assert plain("Шахта «Šaqu» 沙曲 – Ø 5 m²") == "Шахта «Šaqu» 沙曲 – Ø 5 m²"
    assert subject_line("x" * 500) == "x" * 179 + "…"


def test_the_next_acquisition_follows_the_usual_pause():
    days = [date(2024, 1, 1) + timedelta(days=d) for d in (0, 12, 24, 48, 60)]

    assert next_expected(days) == date(2024, 1, 1) + timedelta(days=72)
    assert next_expected(days[:1]) is None


def test_a_first_fill_says_in_the_outbox_how_its_open_alerts_stand(ledger):
    site = site_with()
    until = next(i for i, one in enumerate(judged()) if any(e.type == "better" for e in one.events)) + 1
    as_of = at(events()[0], 1000)
    ledger.sites.sync([site], as_of)
    ledger.revisions.write_down(make_revision(1, days_of(5), TRACK), as_of)
    with ledger.begin() as session:
        for one in judged()[:until]:
            ledger.alerts.save_judgement(
                session, TRACK, one, grid_of(SHAPE), "revision-1", rules_sha256(RULES), as_of
            )
        compose_messages(ledger.outbox, session, site, judged()[:until], ORIGIN, as_of)
    with ledger.begin() as session:
        mail = session.scalars(select(Message).where(Message.recipient == "shift@example.org")).one()

    assert mail.kind == "summary"
    newest = judged()[until - 1]
    assert f"raised {events()[0].epoch}. On {newest.epoch}, last 150 days: " in mail.body_text


def test_composing_twice_writes_once_and_later_messages_answer_across_publications(ledger):
    site = site_with()
    ledger.sites.sync([site], at(events()[0]))
    ledger.revisions.write_down(make_revision(1, days_of(5), TRACK), at(events()[0]))
    cut = next(i for i, one in enumerate(judged()) if one.events) + 1

    def publish(part: tuple[Judged, ...]) -> int:
        as_of = at(part[-1].events[-1])
        with ledger.begin() as session:
            for one in part:
                ledger.alerts.save_judgement(
                    session, TRACK, one, grid_of(SHAPE), "revision-1", rules_sha256(RULES), as_of
                )
            return compose_messages(ledger.outbox, session, site, part, ORIGIN, as_of)

    second = next(i for i, one in enumerate(judged()) if i >= cut and any(e.is_news for e in one.events)) + 1
    assert publish(judged()[:cut]) >= 2
    assert publish(judged()[cut:second]) >= 2
    assert publish(judged()[cut:second]) == 0

    with ledger.begin() as session:
        mails = session.scalars(
            select(Message).where(Message.recipient == "shift@example.org").order_by(Message.id)
        ).all()
    assert mails[0].in_reply_to is None
    assert {mail.in_reply_to for mail in mails[1:]} == {mails[0].message_id}
    assert all(mail.state == "waiting" for mail in mails)
