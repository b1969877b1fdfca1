"""Mail and Slack by hand: one attempt over the real protocols, as the port ``Messenger`` asks for, without Airflow."""

from __future__ import annotations

import json
import smtplib
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import EmailMessage

from sagwatch.errors import RefusedError, TryAgainError
from sagwatch.steps.ports import OutgoingMessage


@dataclass(frozen=True)
class SmtpMessenger:
    host: str
    port: int
    timeout_seconds: float = 5

    def send(self, message: OutgoingMessage) -> None:
        mail = EmailMessage()
        mail["From"] = "sagwatch@example.org"
        mail["To"] = message.recipient
        mail["Subject"] = message.subject
        mail["Message-ID"] = message.message_id
        mail["X-Possible-Repeat"] = str(message.possible_repeat)
        mail.set_content(message.body_text)
        try:
            client = smtplib.SMTP(self.host, self.port, timeout=self.timeout_seconds)
        except OSError as problem:  # nothing was sent
            raise TryAgainError(f"no mail server: {problem}") from problem
        with client:
            try:
                client.send_message(mail)
            except smtplib.SMTPResponseException as problem:
                kind = RefusedError if problem.smtp_code >= 500 else TryAgainError
                raise kind(f"{problem.smtp_code} {problem.smtp_error!r}") from problem


@dataclass(frozen=True)
class WebhookMessenger:
    url: str
    timeout_seconds: float = 5

    def send(self, message: OutgoingMessage) -> None:
        headers = {"Content-Type": "application/json", "X-Sagwatch-Message-ID": message.message_id}
        post = json.dumps({"text": message.body_text}).encode()
        request = urllib.request.Request(self.url, post, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds):
                return
        except urllib.error.HTTPError as problem:
            kind = RefusedError if problem.code in (400, 403, 404, 410) else TryAgainError
            raise kind(f"{problem.code}") from problem
        except urllib.error.URLError as problem:
            if isinstance(problem.reason, ConnectionRefusedError):  # nothing was sent
                raise TryAgainError(f"no Slack: {problem}") from problem
            raise
