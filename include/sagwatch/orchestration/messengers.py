"""Mail and Slack through Airflow's providers.

The providers' own senders repeat a message by themselves when anything goes wrong, also when it had arrived. Here one
call is one attempt: the outbox decides about repeats, with the same Message-ID and visibly marked.
"""

from __future__ import annotations

import logging
import smtplib
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime

from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from sagwatch.errors import RefusedError, TryAgainError
from sagwatch.steps.ports import Clock, OutgoingMessage

log = logging.getLogger(__name__)

SLACK_TIMEOUT_SECONDS = 30
REPEAT_NOTE = "(This may be a repeat of an earlier message with the same number.)"


class _OneAttemptHook(SmtpHook):
    """The provider's connection (address, login, TLS, time-out), without its loop of repeats."""

    def send_once(self, message: EmailMessage) -> None:
        client = self._smtp_client
        if not isinstance(client, smtplib.SMTP):
            raise TypeError("the mail connection is not open; use this hook as a context manager")
        client.send_message(message)


class AirflowMailer:
    """Keeps the port ``Messenger`` with the SMTP server of a Connection.

    The Connection's extra names ``from_email``; ``timeout`` is in seconds.
    """

    def __init__(self, connection_id: str, clock: Clock) -> None:
        self._connection_id = connection_id
        self._clock = clock

    def send(self, message: OutgoingMessage) -> None:
        """One attempt. A break after the message was handed over rises as it is: nobody knows whether it arrived."""
        with _sorted_by_remedy(message.recipient), self._connected() as hook:
            hook.send_once(mime_message(message, self._sender(hook), self._clock.now()))

    @contextmanager
    def _connected(self) -> Iterator[_OneAttemptHook]:
        hook = _OneAttemptHook(smtp_conn_id=self._connection_id)
        try:
            hook.get_conn()
        except smtplib.SMTPAuthenticationError as problem:
            raise TryAgainError(
                f"the mail server refused the login of Connection {self._connection_id} ({_reply(problem)}): "
                "correct it; the messages wait"
            ) from problem
        except (OSError, AirflowException) as problem:  # SMTP errors are OSErrors; nothing was sent so far
            raise TryAgainError(
                f"no mail server at Connection {self._connection_id} ({problem}): check it; the messages wait"
            ) from problem
        try:
            yield hook
        finally:
            if (client := hook._smtp_client) is not None:
                client.close()

    def _sender(self, hook: SmtpHook) -> str:
        if not hook.from_email:
            raise TryAgainError(
                f"Connection {self._connection_id} names no sender: add from_email to its extra; messages wait"
            )
        return str(hook.from_email)


@contextmanager
def _sorted_by_remedy(recipient: str) -> Iterator[None]:
    """Turn what a mail server answers into what has to be done about it."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as problem:
        code, text = next(iter(problem.recipients.values()))
        raise _by_code(code, f"{recipient} refused: {code} {_text(text)}") from problem
    except smtplib.SMTPResponseException as problem:
        raise _by_code(problem.smtp_code, f"mail to {recipient} not taken: {_reply(problem)}") from problem


def _by_code(code: int, text: str) -> RefusedError | TryAgainError:
    return RefusedError(text) if code >= 500 else TryAgainError(text)


def _reply(problem: smtplib.SMTPResponseException) -> str:
    return f"{problem.smtp_code} {_text(problem.smtp_error)}"


def _text(reply: bytes | str) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else reply


def mime_message(message: OutgoingMessage, sender: str, sent_at: datetime) -> EmailMessage:
    """The mail as it leaves: text first, HTML as the alternative, identity from the outbox.

    Header values cannot smuggle in further headers: the email package refuses line breaks, and we flatten them first.
    """
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = _one_line(message.recipient)
    mail["Subject"] = _one_line(message.subject)
    mail["Date"] = format_datetime(sent_at)
    mail["Message-ID"] = _one_line(message.message_id)
    mail["Auto-Submitted"] = "auto-generated"
    if message.in_reply_to:
        mail["In-Reply-To"] = mail["References"] = _one_line(message.in_reply_to)
    if message.possible_repeat:
        mail["X-Sagwatch-Possible-Repeat"] = "yes"
    mail.set_content(_marked(message))
    if message.body_html is not None:
        mail.add_alternative(message.body_html, subtype="html")
    return mail


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _marked(message: OutgoingMessage) -> str:
    return f"{REPEAT_NOTE}\n\n{message.body_text}" if message.possible_repeat else message.body_text


class SlackPoster:
    """Keeps the port ``Messenger`` with the webhook of a Connection (type Slack Incoming Webhook)."""

    def __init__(self, connection_id: str) -> None:
        self._connection_id = connection_id

    def send(self, message: OutgoingMessage) -> None:
        """One attempt. A time-out after sending rises as it is: nobody knows whether it arrived."""
        try:
            client = SlackWebhookHook(
                slack_webhook_conn_id=self._connection_id, timeout=SLACK_TIMEOUT_SECONDS, retry_handlers=[]
            ).client
        except AirflowNotFoundException as problem:
            raise TryAgainError(
                f"Connection {self._connection_id} is not usable ({problem}); messages wait"
            ) from problem
        try:
            answer = client.send(
                text=_marked(message), headers={"X-Sagwatch-Message-ID": _one_line(message.message_id)}
            )
        except urllib.error.URLError as problem:
            if isinstance(problem.reason, TimeoutError):
                raise
            raise TryAgainError(f"Slack cannot be reached: {problem.reason}") from problem
        self._check(answer.status_code, str(answer.body))

    def _check(self, status: int, body: str) -> None:
        if status == 200:
            return
        if status == 400:  # Slack cannot read this message and never will
            raise RefusedError(f"Slack refused the message: {status} {body[:200]}")
        if status in (403, 404, 410):  # the webhook is wrong or gone: a person repairs it, the message waits
            raise TryAgainError(
                f"Slack does not know the webhook of Connection {self._connection_id} ({status} {body[:200]}): "
                "renew it; messages wait"
            )
        raise TryAgainError(f"Slack is not well: {status} {body[:200]}")
