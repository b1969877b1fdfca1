"""Where mails and Slack posts arrive: kept word for word, shown readably, never executed."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from .faults import Faults
from .state import MessageRow, State

MOST_MAIL_BYTES = 33_554_432


class MailSink:
    """An SMTP server that accepts everything and keeps it."""

    def __init__(self, state: State, faults: Callable[[], Faults]) -> None:
        self._state, self._faults = state, faults

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Start listening on the running event loop."""
        return await asyncio.get_running_loop().create_server(self._protocol, host, port)

    def _protocol(self) -> SMTP:
        return SMTP(self, hostname="simulated-cloud", data_size_limit=MOST_MAIL_BYTES, enable_SMTPUTF8=True)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's name)
        if self._faults().smtp_down:
            return "451 4.3.0 Temporarily unavailable, try again later"
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        parsed = BytesParser(policy=policy.default).parsebytes(content, headersonly=True)
        message_id = str(parsed["Message-ID"]).strip() if parsed["Message-ID"] else None
        addresses = {"from": envelope.mail_from, "to": envelope.rcpt_tos}
        self._state.keep_message("mail", message_id, addresses, content)
        return "250 Message accepted for delivery"


def take_slack_post(state: State, path: str, content: bytes, header_id: str | None = None) -> tuple[int, str]:
    """Keep one webhook post; returns Slack's status and words.

    A post has no identity of its own at Slack; ours is in a header or in the metadata, so that repeats can be counted.
    """
    try:
        body = json.loads(content)
    except ValueError:
        return 400, "invalid_payload"
    if not isinstance(body, dict):
        return 400, "invalid_payload"
    if not any(body.get(key) for key in ("text", "blocks", "attachments")):
        return 400, "no_text"
    metadata = body.get("metadata")
    event = metadata.get("event_payload", {}) if isinstance(metadata, dict) else {}
    message_id = header_id or (event.get("message_id") if isinstance(event, dict) else None)
    state.keep_message("slack", message_id, {"path": path}, content)
    return 200, "ok"


@dataclass(frozen=True)
class Attachment:
    name: str
    media_type: str
    content: bytes
    content_id: str | None


def mail_parts(content: bytes) -> tuple[EmailMessage, str, str, list[Attachment]]:
    """Headers, plain text, HTML and attachments of a mail."""
    message = BytesParser(policy=policy.default).parsebytes(content)
    assert isinstance(message, EmailMessage)
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    bodies = {id(plain), id(html)}
    attachments = []
    for number, part in enumerate(message.walk()):
        if part.is_multipart() or id(part) in bodies:
            continue
        payload = part.get_payload(decode=True)
        identifier = str(part["Content-ID"]).strip("<> ") if part["Content-ID"] else None
        name = part.get_filename() or f"part-{number}"
        data = payload if isinstance(payload, bytes) else b""
        attachments.append(Attachment(name, part.get_content_type(), data, identifier))
    text = plain.get_content() if plain is not None else ""
    markup = html.get_content() if html is not None else ""
    return message, str(text), str(markup), attachments


def with_inline_pictures(html: str, attachments: list[Attachment]) -> str:
    """HTML whose ``cid:`` pictures are data, so that it can be shown in a sandbox without any request."""
    for attachment in attachments:
        if attachment.content_id and attachment.media_type in ("image/png", "image/jpeg", "image/gif"):
            data = base64.b64encode(attachment.content).decode()
            html = html.replace(f"cid:{attachment.content_id}", f"data:{attachment.media_type};base64,{data}")
    return html


def show_messages(rows: list[MessageRow]) -> list[dict[str, Any]]:
    """Every message once, oldest first; repeats (equal Message-ID) are counted in ``copies``."""
    shown: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = f"{row.kind}/{row.message_id or row.seq}"
        if key in shown:
            shown[key]["copies"] += 1
            shown[key]["last_received"] = row.received.isoformat()
        else:
            shown[key] = _show(row)
    return list(shown.values())


def _show(row: MessageRow) -> dict[str, Any]:
    common = {
        "seq": row.seq,
        "kind": row.kind,
        "received": row.received.isoformat(),
        "last_received": row.received.isoformat(),
        "message_id": row.message_id,
        "copies": 1,
    }
    return common | (_show_mail(row) if row.kind == "mail" else _show_slack(row))


def _show_mail(row: MessageRow) -> dict[str, Any]:
    message, text, html, attachments = mail_parts(row.content)
    return {
        "subject": str(message["Subject"] or ""),
        "from": str(message["From"] or row.envelope["from"]),
        "to": row.envelope["to"],
        "headers": {name: str(value) for name, value in message.items()},
        "text": text,
        "html": with_inline_pictures(html, attachments),
        "attachments": [
            {
                "name": attachment.name,
                "type": attachment.media_type,
                "size": len(attachment.content),
                "url": f"/messages/{row.seq}/attachments/{number}",
            }
            for number, attachment in enumerate(attachments)
        ],
    }


def _show_slack(row: MessageRow) -> dict[str, Any]:
    body = json.loads(row.content)
    return {
        "path": row.envelope["path"],
        "text": str(body.get("text", "")),
        "body": body,
        "lines": slack_lines(body),
    }


def slack_lines(body: dict[str, Any]) -> list[str]:
    """The words of a post's blocks, block by block; the plain text where there are none."""
    lines: list[str] = []
    for block in body.get("blocks") or []:
        if not isinstance(block, dict):
            continue
        texts = [block.get("text"), *(block.get("fields") or []), *(block.get("elements") or [])]
        lines += [str(text["text"]) for text in texts if isinstance(text, dict) and "text" in text]
        lines += ["―"] if block.get("type") == "divider" else []
    return lines or str(body.get("text", "")).splitlines()
