"""Hand over what the outbox holds: at least once, in order, and visibly marked when it may be a repeat."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.outbox import LeasedMessage, Outbox
from sagwatch.errors import RefusedError, SagwatchError
from sagwatch.steps.ports import Messenger, OutgoingMessage

log = logging.getLogger(__name__)

#: A channel is left alone until the next call after so many messages in a row that had to wait.
_FAILURES_TO_STOP = 3


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of the messages; ``waiting`` are still in the outbox."""

    sent: int
    waiting: int
    refused: int


def deliver_messages(ledger: Ledger, messengers: Mapping[str, Messenger], as_of: datetime) -> Delivered:
    """Send what may go, by channel (``mail``, ``slack``); messages of other channels stay.

    What happened to a message stands in its row and is not raised; one that can never arrive is told to the operators
    (`operation_event`), because its recipient will not miss it. A channel that fails several times in a row is left
    alone until the next call, so that a receiver that is away is not hammered.
    """
    sent = refused = 0
    for channel in sorted(messengers):
        failures = 0
        # One message at a time: a longer lease would only lengthen what a crash leaves unclear.
        while failures < _FAILURES_TO_STOP and (leased := ledger.outbox.lease(1, [channel])):
            outcome = _hand_over(ledger.outbox, messengers[channel], leased[0], as_of)
            sent += outcome == "sent"
            if outcome == "refused":
                refused += 1
                _tell_operators(leased[0], ledger, as_of)
            failures = failures + 1 if outcome == "waiting" else 0
    counts = ledger.outbox.counts()
    waiting = counts.get("waiting", 0) + counts.get("sending", 0)
    log.info("%d messages sent, %d refused, %d wait", sent, refused, waiting)
    return Delivered(sent, waiting, refused)


def _hand_over(outbox: Outbox, messenger: Messenger, leased: LeasedMessage, as_of: datetime) -> str:
    try:
        messenger.send(_outgoing(leased))
    except RefusedError as problem:
        log.error("message %s to %s refused: %s", leased.message_id, leased.recipient, problem)
        outbox.refused(leased, str(problem))
        return "refused"
    except SagwatchError as problem:
        log.warning("message %s to %s waits: %s", leased.message_id, leased.recipient, problem)
        outbox.later(leased, str(problem))
        return "waiting"
    except Exception as problem:
        # Whatever it was, the message may have arrived: that is recorded, and the next attempt says so.
        log.warning("message %s to %s has an unclear end", leased.message_id, leased.recipient, exc_info=True)
        outbox.unclear(leased, f"{type(problem).__name__}: {problem}")
        return "waiting"
    outbox.sent(leased, as_of)
    return "sent"


def _tell_operators(message: LeasedMessage, ledger: Ledger, as_of: datetime) -> None:
    ledger.operations.record(
        kind="message_refused",
        text=f"{message.recipient} will never get {message.subject!r}: the receiver refused it for good. Tell them by "
        "another way, and correct the site's contact or the Connection",
        dedupe_key=f"message_refused:{message.message_id}",
        as_of=as_of,
        severity="error",
        details={"message_id": message.message_id, "channel": message.channel},
    )


def _outgoing(leased: LeasedMessage) -> OutgoingMessage:
    return OutgoingMessage(
        recipient=leased.recipient,
        message_id=leased.message_id,
        in_reply_to=leased.in_reply_to,
        subject=leased.subject,
        body_text=leased.body_text,
        body_html=leased.body_html,
        possible_repeat=leased.possible_repeat,
    )
