"""Mail and Slack over Airflow's providers, against servers that take, refuse, stall and hang up."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from sagwatch.errors import RefusedError, TryAgainError
from sagwatch.orchestration.messengers import AirflowMailer, SlackPoster, mime_message
from sagwatch.steps.ports import OutgoingMessage

NOW = datetime(2024, 7, 1, 12, 30, tzinfo=UTC)
MESSAGE = OutgoingMessage(
    recipient="mine-safety@example.org",
    message_id="<e1.c1@sagwatch>",
    in_reply_to="<e0.c1@sagwatch>",
    subject="Shaqu: ground moves at −120 mm/yr",
    body_text="Ground moves away from the satellite.",
    body_html="<p>Ground moves away from the satellite.</p>",
    possible_repeat=False,
)


class _Clock:
    def now(self) -> datetime:
        return NOW


@dataclass
class Sink:
    """An SMTP server that answers as told, and keeps what it took."""

    rcpt: str = "250 OK"
    data: str = "250 OK"
    mails: list[bytes] = field(default_factory=list)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.data.startswith("250"):
            self.mails.append(envelope.content)
        return self.data


@contextmanager
def smtp(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Iterator[AirflowMailer]:
    controller = Controller(sink, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield mailer(controller.port, monkeypatch)
    finally:
        controller.stop()


def mailer(port: int, monkeypatch: pytest.MonkeyPatch) -> AirflowMailer:
    extra = {
        "disable_ssl": True,
        "disable_tls": True,
        "from_email": "sagwatch@example.org",
        "retry_limit": 0,
        "timeout": 2,
    }
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SAGWATCH_SMTP", json.dumps(connection))
    return AirflowMailer("sagwatch_smtp", _Clock())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_mail_arrives_with_its_own_identity_text_and_html(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Sink()
    with smtp(sink, monkeypatch) as mail:
        mail.send(MESSAGE)
        mail.send(replace(MESSAGE, possible_repeat=True))

    first, second = (message_from_bytes(raw, policy=policy.default) for raw in sink.mails)
    assert first["Message-ID"] == second["Message-ID"] == "<e1.c1@sagwatch>"
    assert first["In-Reply-To"] == first["References"] == "<e0.c1@sagwatch>"
    assert first["Subject"] == MESSAGE.subject
    assert first["Date"].datetime == NOW
    assert first.get_body(("plain",)).get_content().strip() == MESSAGE.body_text
    assert first.get_body(("html",)).get_content().strip() == MESSAGE.body_html
    assert "may be a repeat" in second.get_body(("plain",)).get_content()
    assert "may be a repeat" not in first.get_body(("plain",)).get_content()


@pytest.mark.parametrize(
    ("sink", "expected"),
    [
        (Sink(rcpt="550 no such user"), RefusedError),
        (Sink(rcpt="451 later"), TryAgainError),
        (Sink(data="554 looks like spam"), RefusedError),
        (Sink(data="451 disk full"), TryAgainError),
    ],
)
def test_what_the_server_answers_becomes_what_has_to_be_done(
    sink: Sink, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with smtp(sink, monkeypatch) as mail, pytest.raises(expected):
        mail.send(MESSAGE)
    assert sink.mails == []


def test_a_server_that_is_away_means_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TryAgainError, match="sagwatch_smtp"):
        mailer(free_port(), monkeypatch).send(MESSAGE)


def test_a_missing_connection_means_later_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SAGWATCH_NOWHERE", raising=False)

    with pytest.raises(TryAgainError, match="check it"):
        AirflowMailer("sagwatch_nowhere", _Clock()).send(MESSAGE)


def test_a_line_that_breaks_after_the_message_is_unclear_and_is_sent_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def take_and_hang_up() -> None:
        line, _ = listener.accept()
        with line, line.makefile("rwb") as file:
            file.write(b"220 hello\r\n")
            file.flush()
            for answer in (b"250 hello", b"250 ok", b"250 ok", b"354 go on"):
                file.readline()
                file.write(answer + b"\r\n")
                file.flush()
            while (text := file.readline()) not in (b".\r\n", b""):
                seen.append(text)

    thread = threading.Thread(target=take_and_hang_up, daemon=True)
    thread.start()
    with pytest.raises(Exception) as raised:
        mailer(listener.getsockname()[1], monkeypatch).send(MESSAGE)
    thread.join(10)
    listener.close()

    assert not isinstance(raised.value, TryAgainError | RefusedError), "nobody knows whether it arrived"
    assert any(b"Message-ID" in text for text in seen)


def test_no_text_can_smuggle_in_a_header() -> None:
    hostile = replace(
        MESSAGE, subject="Shaqu\r\nBcc: everyone@example.org", recipient="a@example.org\nCc: b@example.org"
    )

    mail = mime_message(hostile, "sagwatch@example.org", NOW)

    assert mail["Bcc"] is None
    assert mail["Cc"] is None
    assert mail["Subject"] == "Shaqu Bcc: everyone@example.org"


# ---- Slack ---------------------------------------------------------------------------------------------------------


@contextmanager
def webhook(
    answer: Callable[[BaseHTTPRequestHandler], None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[dict[str, Any]]]:
    posts: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append({"path": self.path, "id": self.headers["X-Sagwatch-Message-ID"], **json.loads(body)})
            answer(self)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/services"
    connection = {"conn_type": "slackwebhook", "host": url, "password": "T0/B0/XX"}
    monkeypatch.setenv("AIRFLOW_CONN_SAGWATCH_SLACK", json.dumps(connection))
    try:
        yield posts
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def status(code: int) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.end_headers()
        handler.wfile.write(b"ok" if code == 200 else b"no")

    return answer


def test_a_slack_post_arrives_once_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook(status(200), monkeypatch) as posts:
        SlackPoster("sagwatch_slack").send(MESSAGE)

    assert posts == [{"path": "/services/T0/B0/XX", "id": "<e1.c1@sagwatch>", "text": MESSAGE.body_text}]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (400, RefusedError),
        (403, TryAgainError),
        (404, TryAgainError),
        (410, TryAgainError),
        (429, TryAgainError),
        (503, TryAgainError),
    ],
)
def test_what_slack_answers_becomes_what_has_to_be_done(
    code: int, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook(status(code), monkeypatch) as posts, pytest.raises(expected):
        SlackPoster("sagwatch_slack").send(MESSAGE)
    assert len(posts) == 1


def test_slack_that_cannot_be_reached_means_later(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {
        "conn_type": "slackwebhook",
        "host": f"http://127.0.0.1:{free_port()}/services",
        "password": "T0/B0/XX",
    }
    monkeypatch.setenv("AIRFLOW_CONN_SAGWATCH_SLACK", json.dumps(connection))

    with pytest.raises(TryAgainError, match="reached"):
        SlackPoster("sagwatch_slack").send(MESSAGE)
