"""The outbox: messages that were decided together with their events, until they are handed over.

A row in state ``sending`` whose lease has run out stands for an attempt that nobody knows the end of: the sender was
killed, or the connection broke after the message was handed over. It is sent again with the same Message-ID and
marked as a possible repeat. The lease runs on the database's clock, because senders' clocks and simulated time may
differ.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session, aliased

from sagwatch.adapters.database.models import Message

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger

Channel = Literal["mail", "slack"]
MessageKind = Literal["alert", "summary", "digest", "health"]

_UNSENT = ("waiting", "sending")
_LONGEST_PAUSE_SECONDS = 900.0
_ERROR_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class DraftMessage:
    """A message to be put into the outbox; ``dedupe_key`` makes it unique for ever."""

    dedupe_key: str
    site: str
    alert_id: str | None
    event_id: str | None
    kind: MessageKind
    channel: Channel
    recipient: str
    message_id: str
    in_reply_to: str | None
    subject: str
    body_text: str
    body_html: str | None


@dataclass(frozen=True, slots=True)
class LeasedMessage:
    """A message that this sender alone may send until its lease runs out."""

    id: int
    channel: str
    recipient: str
    message_id: str
    in_reply_to: str | None
    subject: str
    body_text: str
    body_html: str | None
    attempt: int
    possible_repeat: bool


class Outbox:
    """Reached as `ledger.outbox`."""

    def __init__(
        self, ledger: Ledger, lease_seconds: float = 300.0, first_pause_seconds: float = 10.0
    ) -> None:
        self._ledger = ledger
        self._lease_seconds = lease_seconds
        self._first_pause_seconds = first_pause_seconds

    def put(self, session: Session, drafts: Sequence[DraftMessage], as_of: datetime) -> int:
        """Add messages inside the caller's transaction; those that exist already stay as they are. Returns how many."""
        added = 0
        for draft in drafts:
            values = {field: getattr(draft, field) for field in DraftMessage.__dataclass_fields__}
            statement = insert(Message).values(**values, state="waiting", created_at=as_of)
            done = session.execute(
                statement.on_conflict_do_nothing(index_elements=["dedupe_key"]).returning(Message.id)
            )
            added += done.scalar() is not None
        return added

    def last_digest_at(self, session: Session, site: str) -> datetime | None:
        """When the site's newest digest was written."""
        return session.scalar(
            select(func.max(Message.created_at)).where(Message.site == site, Message.kind == "digest")
        )

    def first_message_ids(
        self, session: Session, alert_ids: Collection[str]
    ) -> Mapping[tuple[str, str, str], str]:
        """Message-ID of the first message about each alert, by (alert, channel, recipient): what later ones answer."""
        rows = session.execute(
            select(Message.alert_id, Message.channel, Message.recipient, Message.message_id)
            .where(Message.alert_id.in_(alert_ids))
            .ext(distinct_on(Message.alert_id, Message.channel, Message.recipient))
            .order_by(Message.alert_id, Message.channel, Message.recipient, Message.id)
        )
        return {(row.alert_id, row.channel, row.recipient): row.message_id for row in rows}

    def lease(self, n: int, channels: Collection[str]) -> list[LeasedMessage]:
        """Take up to ``n`` messages that may go now, at most the oldest unsent one of each recipient.

        So one recipient's messages arrive in order: a later one waits until the earlier one is sent or refused. Those
        that never failed go first: a recipient who cannot be reached holds up nobody else.
        """
        with self._ledger.begin() as session:
            now = func.clock_timestamp()
            rows = session.scalars(
                select(Message)
                .where(
                    Message.state.in_(_UNSENT),
                    Message.channel.in_(channels),
                    or_(Message.lease_until.is_(None), Message.lease_until <= now),
                    ~_something_older_waits(),
                )
                .order_by(Message.attempts, Message.id)
                .limit(n)
                .with_for_update(skip_locked=True)
            ).all()
            leased = [_leased(row) for row in rows]
            self._set(
                session,
                Message.id.in_([row.id for row in rows]),
                state="sending",
                attempts=Message.attempts + 1,
                lease_until=now + _seconds(self._lease_seconds),
            )
            return leased

    def sent(self, message: LeasedMessage, as_of: datetime) -> None:
        """The receiver took it."""
        with self._ledger.begin() as session:
            self._set(session, _mine(message), state="sent", sent_at=as_of, lease_until=None, error=None)

    def refused(self, message: LeasedMessage, error: str) -> None:
        """It can never be sent; later messages to the same recipient may go."""
        with self._ledger.begin() as session:
            self._set(session, _mine(message), state="refused", lease_until=None, error=error[:_ERROR_LENGTH])

    def later(self, message: LeasedMessage, error: str) -> None:
        """It certainly did not arrive this time; try again after a pause that doubles with every attempt.

        If an earlier attempt had an unclear end, that stays so.
        """
        self._pause(message, error, "sending" if message.possible_repeat else "waiting")

    def unclear(self, message: LeasedMessage, error: str) -> None:
        """It may have arrived: the next attempt says so."""
        self._pause(message, error, "sending")

    def counts(self) -> Mapping[str, int]:
        """How many messages are in each state."""
        with self._ledger.begin() as session:
            rows = session.execute(select(Message.state, func.count().label("n")).group_by(Message.state))
            return {row.state: row.n for row in rows}

    def _pause(self, message: LeasedMessage, error: str, state: str) -> None:
        seconds = min(self._first_pause_seconds * 2 ** (message.attempt - 1), _LONGEST_PAUSE_SECONDS)
        with self._ledger.begin() as session:
            self._set(
                session,
                _mine(message),
                state=state,
                error=error[:_ERROR_LENGTH],
                lease_until=func.clock_timestamp() + _seconds(seconds),
            )

    def _set(self, session: Session, where: ColumnElement[bool], **values: object) -> None:
        session.execute(
            update(Message).where(where).values(**values).execution_options(synchronize_session=False)
        )


def _mine(message: LeasedMessage) -> ColumnElement[bool]:
    """Only while the lease is this sender's: a late one must not touch what another has taken over."""
    return and_(Message.id == message.id, Message.state == "sending", Message.attempts == message.attempt)


def _something_older_waits() -> ColumnElement[bool]:
    older = aliased(Message)
    return exists().where(
        older.channel == Message.channel,
        older.recipient == Message.recipient,
        older.state.in_(_UNSENT),
        older.id < Message.id,
    )


def _leased(row: Message) -> LeasedMessage:
    return LeasedMessage(
        id=row.id,
        channel=row.channel,
        recipient=row.recipient,
        message_id=row.message_id,
        in_reply_to=row.in_reply_to,
        subject=row.subject,
        body_text=row.body_text,
        body_html=row.body_html,
        attempt=row.attempts + 1,
        possible_repeat=row.state == "sending",
    )


def _seconds(seconds: float) -> ColumnElement[timedelta]:
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)
