"""The mail and Slack sinks of the simulated cloud, and the page that shows what arrived."""

import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
import requests

from sagwatch.simulation.running import RunningCloud, start
from tests.simulation.small_world import write_small_world

EVIL = "<script>document.title='taken over'</script>"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[RunningCloud]:
    with start(tmp_path / "state", scenario=str(write_small_world(tmp_path))) as running:
        running.advance_to("2024-03-01T06:00:00Z")
        yield running


def mail(message_id: str = "<alert-1@sagwatch>") -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Ground is sinking: -312 ± 9 mm/yr"
    message["From"] = "sagwatch@example.org"
    message["To"] = "analyst@example.org"
    message["Message-ID"] = message_id
    message.set_content("Plain words, -312 ± 9 mm/yr.\n")
    message.add_alternative(f"<p>Formatted words</p>{EVIL}<img src='cid:map'>", subtype="html")
    html = message.get_payload()[1]
    html.add_related(b"\x89PNG picture", maintype="image", subtype="png", cid="<map>")
    message.add_attachment(b"date,los_mm\n", maintype="text", subtype="csv", filename="history.csv")
    return message


def send(cloud: RunningCloud, message: EmailMessage) -> None:
    with smtplib.SMTP("127.0.0.1", cloud.smtp_port) as smtp:
        smtp.send_message(message)


def test_a_mail_arrives_whole_with_the_simulated_time(cloud: RunningCloud) -> None:
    send(cloud, mail())

    (arrived,) = cloud.messages()

    assert arrived["received"] == "2024-03-01T06:00:00+00:00"
    assert (arrived["kind"], arrived["message_id"], arrived["copies"]) == ("mail", "<alert-1@sagwatch>", 1)
    assert arrived["subject"] == "Ground is sinking: -312 ± 9 mm/yr"
    assert arrived["to"] == ["analyst@example.org"]
    assert arrived["text"].strip() == "Plain words, -312 ± 9 mm/yr."
    assert "data:image/png;base64," in arrived["html"]
    history = next(one for one in arrived["attachments"] if one["name"] == "history.csv")
    download = requests.get(cloud.url + history["url"], timeout=10)
    assert download.content == b"date,los_mm\n"
    assert download.headers["Content-Disposition"] == "attachment"


def test_repeats_are_counted_and_not_shown_twice(cloud: RunningCloud) -> None:
    send(cloud, mail())
    send(cloud, mail("<alert-2@sagwatch>"))
    cloud.advance_to("2024-03-02T00:00:00Z")
    send(cloud, mail())

    shown = [(one["message_id"], one["copies"], one["last_received"][:10]) for one in cloud.messages()]

    assert shown == [("<alert-1@sagwatch>", 2, "2024-03-02"), ("<alert-2@sagwatch>", 1, "2024-03-01")]


def test_a_mail_server_that_is_away_refuses_for_now(cloud: RunningCloud) -> None:
    cloud.faults(smtp_down=True)
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        send(cloud, mail())
    assert refusal.value.smtp_code == 451
    cloud.faults()
    send(cloud, mail())
    assert len(cloud.messages()) == 1


def test_a_slack_post_arrives_and_bad_ones_are_refused(cloud: RunningCloud) -> None:
    hook = f"{cloud.url}/services/T0/B0/XX"
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "*-312 ± 9 mm/yr*"}}]

    good = requests.post(hook, json={"text": "Ground is sinking", "blocks": blocks}, timeout=10)
    empty = requests.post(hook, json={"colour": "red"}, timeout=10)
    broken = requests.post(hook, data="{", timeout=10)
    cloud.faults(slack_down=True)
    away = requests.post(hook, json={"text": "later"}, timeout=10)

    assert (good.status_code, good.text) == (200, "ok")
    assert (empty.status_code, empty.text) == (400, "no_text")
    assert (broken.status_code, broken.text) == (400, "invalid_payload")
    assert away.status_code == 503
    (arrived,) = cloud.messages()
    assert (arrived["path"], arrived["text"], arrived["lines"]) == (
        "T0/B0/XX",
        "Ground is sinking",
        ["*-312 ± 9 mm/yr*"],
    )


def test_the_page_shows_messages_and_runs_nothing_of_them(cloud: RunningCloud) -> None:
    message = mail()
    message.replace_header("Subject", f"Sinking {EVIL}")
    send(cloud, message)
    requests.post(f"{cloud.url}/services/T0/B0/XX", json={"text": f"Slack {EVIL}"}, timeout=10)

    answer = requests.get(cloud.url, timeout=10)

    assert answer.status_code == 200
    assert "Plain words, -312 ± 9 mm/yr." in answer.text
    assert "Slack &lt;script&gt;" in answer.text
    assert "Sinking &lt;script&gt;" in answer.text
    assert "<script" not in answer.text
    assert '<iframe sandbox title="formatted mail" srcdoc="' in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_page_of_an_empty_world_says_so(cloud: RunningCloud) -> None:
    text = requests.get(cloud.url, timeout=10).text

    assert "Nothing has been ordered yet." in text
    assert "No mail and no Slack post has arrived yet." in text
    assert "2024-03-01" in text
