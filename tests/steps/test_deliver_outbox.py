"""The outbox: at least once, in order, and a possible repeat says so."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.models import Message, OperationEvent
from sagwatch.adapters.database.outbox import DraftMessage
from sagwatch.errors import RefusedError, TryAgainError
from sagwatch.steps.deliver_messages import Delivered, deliver_messages
from sagwatch.steps.ports import OutgoingMessage
from tests.database.published import make_site

AS_OF = datetime(2024, 6, 1, 12, tzinfo=UTC)


class Receiver:
    """Keeps what arrives; ``misfortune`` may raise before or after it arrived."""

    def __init__(self, before: Callable[[OutgoingMessage], None] | None = None) -> None:
        self.arrived: list[OutgoingMessage] = []
        self.before = before
        self.after: Callable[[OutgoingMessage], None] | None = None

    def send(self, message: OutgoingMessage) -> None:
        if self.before is not None:
            self.before(message)
        self.arrived.append(message)
        if self.after is not None:
            self.after(message)

    @property
    def subjects(self) -> list[str]:
        return [message.subject for message in self.arrived]


class KilledError(BaseException):
    """As a SIGKILL between the receiver's yes and our commit: nobody catches it."""


def draft(number: int, recipient: str = "a@example.org", channel: str = "mail") -> DraftMessage:
    return DraftMessage(
        dedupe_key=f"{channel} {recipient} {number}",
        site="anyang",
        alert_id=None,
        event_id=None,
        kind="summary",
        channel=channel,  # type: ignore[arg-type]
        recipient=recipient,
        message_id=f"<{number}.{recipient}>",
        in_reply_to=None,
        subject=f"{recipient} {number}",
        body_text="text",
        body_html=None,
    )


@pytest.fixture
def stocked(ledger: Ledger) -> Callable[..., None]:
    ledger.sites.sync([make_site()], AS_OF)

    def put(*drafts: DraftMessage) -> None:
        with ledger.begin() as session:
            ledger.outbox.put(session, drafts, AS_OF)

    return put


def let_leases_run_out(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(
            text("UPDATE sagwatch.message SET lease_until = clock_timestamp() WHERE lease_until IS NOT NULL")
        )


def states(ledger: Ledger) -> dict[str, str]:
    with ledger.begin() as session:
        return {row.subject: row.state for row in session.execute(select(Message.subject, Message.state))}


def test_every_message_arrives_once_in_order_and_is_written_down(ledger, stocked):
    stocked(*[draft(i, who) for i in (1, 2, 3) for who in ("a@x.org", "b@x.org")], draft(9, "hook", "slack"))
    mail, slack = Receiver(), Receiver()

    result = deliver_messages(ledger, {"mail": mail, "slack": slack}, AS_OF)

    assert result == Delivered(sent=7, waiting=0, refused=0)
    for who in ("a@x.org", "b@x.org"):
        assert [s for s in mail.subjects if s.startswith(who)] == [f"{who} {i}" for i in (1, 2, 3)]
    assert slack.subjects == ["hook 9"]
    assert not any(message.possible_repeat for message in mail.arrived)
    with ledger.begin() as session:
        assert set(session.scalars(select(Message.sent_at))) == {AS_OF}
    assert deliver_messages(ledger, {"mail": mail, "slack": slack}, AS_OF) == Delivered(0, 0, 0)


def test_the_same_message_is_put_in_once(ledger, stocked):
    stocked(draft(1))
    stocked(draft(1), draft(2))

    assert states(ledger) == {"a@example.org 1": "waiting", "a@example.org 2": "waiting"}


def test_while_the_server_is_away_messages_wait_and_go_out_later_in_order(ledger, stocked):
    def away(message: OutgoingMessage) -> None:
        raise TryAgainError("no mail server")

    stocked(*[draft(i) for i in (1, 2, 3)])
    mail = Receiver(before=away)

    assert deliver_messages(ledger, {"mail": mail}, AS_OF) == Delivered(0, 3, 0)
    assert set(states(ledger).values()) == {"waiting"}
    mail.before = None
    assert deliver_messages(ledger, {"mail": mail}, AS_OF).sent == 0, "a pause comes first"
    let_leases_run_out(ledger)

    assert deliver_messages(ledger, {"mail": mail}, AS_OF) == Delivered(3, 0, 0)
    assert mail.subjects == [f"a@example.org {i}" for i in (1, 2, 3)]
    assert not mail.arrived[0].possible_repeat, "it certainly had not arrived"


def test_a_server_that_is_away_is_not_hammered(ledger, stocked):
    calls = []

    def away(message: OutgoingMessage) -> None:
        calls.append(message.recipient)
        raise TryAgainError("no mail server")

    stocked(*[draft(1, f"{i}@x.org") for i in range(20)])

    deliver_messages(ledger, {"mail": Receiver(before=away)}, AS_OF)

    assert len(calls) == 3


def test_one_recipient_who_cannot_be_reached_holds_up_nobody_else(ledger, stocked):
    def grey(message: OutgoingMessage) -> None:
        if message.recipient.startswith("grey"):
            raise TryAgainError("451 try later")

    stocked(
        *[draft(i, who) for who in ("grey1@x.org", "grey2@x.org", "grey3@x.org", "b@x.org") for i in (1, 2)]
    )
    mail = Receiver(before=grey)

    deliver_messages(ledger, {"mail": mail}, AS_OF)
    let_leases_run_out(ledger)
    deliver_messages(ledger, {"mail": mail}, AS_OF)

    assert mail.subjects == ["b@x.org 1", "b@x.org 2"]


def test_a_refusal_is_final_and_the_next_message_goes(ledger, stocked):
    def refuse_first(message: OutgoingMessage) -> None:
        if message.subject.endswith("1"):
            raise RefusedError("550 no such user")

    stocked(draft(1), draft(2))
    mail = Receiver(before=refuse_first)

    assert deliver_messages(ledger, {"mail": mail}, AS_OF) == Delivered(sent=1, waiting=0, refused=1)
    assert states(ledger) == {"a@example.org 1": "refused", "a@example.org 2": "sent"}
    with ledger.begin() as session:
        assert "550 no such user" in session.scalars(select(Message.error).order_by(Message.id)).all()
        told = session.scalars(select(OperationEvent)).one()
    assert (told.kind, told.severity) == ("message_refused", "error")
    assert told.text.startswith("a@example.org will never get")


def test_a_kill_between_the_receivers_yes_and_our_commit_repeats_once_with_the_same_id_and_says_so(
    ledger, stocked
):
    def die(message: OutgoingMessage) -> None:
        raise KilledError

    stocked(draft(1), draft(2))
    mail = Receiver()
    mail.after = die
    with pytest.raises(KilledError):
        deliver_messages(ledger, {"mail": mail}, AS_OF)
    mail.after = None
    assert deliver_messages(ledger, {"mail": mail}, AS_OF) == Delivered(0, 2, 0), "the lease still runs"
    let_leases_run_out(ledger)

    assert deliver_messages(ledger, {"mail": mail}, AS_OF).sent == 2

    assert [(m.message_id, m.possible_repeat) for m in mail.arrived] == [
        ("<1.a@example.org>", False),
        ("<1.a@example.org>", True),
        ("<2.a@example.org>", False),
    ]


def test_an_unclear_end_stays_unclear_through_later_failures(ledger, stocked):
    def break_after(message: OutgoingMessage) -> None:
        raise TimeoutError("no answer after DATA")

    def away(message: OutgoingMessage) -> None:
        raise TryAgainError("no mail server")

    stocked(draft(1))
    mail = Receiver()
    mail.after = break_after
    deliver_messages(ledger, {"mail": mail}, AS_OF)
    let_leases_run_out(ledger)
    mail.before, mail.after = away, None
    deliver_messages(ledger, {"mail": mail}, AS_OF)
    let_leases_run_out(ledger)
    mail.before = None

    deliver_messages(ledger, {"mail": mail}, AS_OF)

    assert [m.possible_repeat for m in mail.arrived] == [False, True]
    assert states(ledger) == {"a@example.org 1": "sent"}


def test_a_channel_without_a_messenger_waits(ledger, stocked):
    stocked(draft(1), draft(1, "hook", "slack"))

    assert deliver_messages(ledger, {"mail": Receiver()}, AS_OF) == Delivered(1, 1, 0)
    assert states(ledger)["hook 1"] == "waiting"


def test_two_senders_at_once_send_nothing_twice_and_keep_the_order(ledger, stocked):
    stocked(*[draft(i, who) for i in range(8) for who in ("a@x.org", "b@x.org", "c@x.org")])
    mail = Receiver()

    with ThreadPoolExecutor(3) as pool:
        senders = [pool.submit(deliver_messages, ledger, {"mail": mail}, AS_OF) for _ in range(3)]
        sent = sum(sender.result(60).sent for sender in senders)
    sent += deliver_messages(ledger, {"mail": mail}, AS_OF).sent

    assert sent == len(mail.subjects) == 24
    for who in ("a@x.org", "b@x.org", "c@x.org"):
        assert [s for s in mail.subjects if s.startswith(who)] == [f"{who} {i}" for i in range(8)]


def test_a_late_sender_cannot_touch_what_another_took_over(ledger, stocked):
    stocked(draft(1))
    (first,) = ledger.outbox.lease(1, ["mail"])
    let_leases_run_out(ledger)
    (second,) = ledger.outbox.lease(1, ["mail"])

    ledger.outbox.refused(first, "late")

    assert second.possible_repeat
    assert states(ledger) == {"a@example.org 1": "sending"}
    ledger.outbox.sent(second, AS_OF)
    assert states(ledger) == {"a@example.org 1": "sent"}
