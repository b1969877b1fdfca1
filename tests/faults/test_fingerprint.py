"""The command that prints a site's end state, and what it leaves out."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sagwatch.__main__ import main
from sagwatch.adapters.database.fingerprint import differences, fingerprint
from sagwatch.adapters.database.ledger import Ledger
from tests.faults.small_mine import MAIL_RECIPIENT, SITE_NAME, put_messages, write_small_mine

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def test_the_command_prints_what_the_function_says(
    ledger: Ledger,
    postgis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    ledger.sites.sync_site(write_small_mine(tmp_path).site, NOW)
    monkeypatch.setenv("SAGWATCH_DATABASE_URL", postgis_url)

    assert main(["fingerprint", SITE_NAME]) == 0

    printed = json.loads(capsys.readouterr().out)
    assert printed == fingerprint(ledger, SITE_NAME)
    assert [track["id"] for track in printed["tracks"]] == [f"{SITE_NAME}/t011a"]
    assert printed["points"]["count"] == printed["series"]["count"] == 0


def test_a_site_that_is_unknown_is_bad_input(
    postgis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("SAGWATCH_DATABASE_URL", postgis_url)

    assert main(["fingerprint", "nowhere"]) == 64
    assert "knows no site nowhere" in capsys.readouterr().err


def test_attempts_and_times_are_left_out_and_states_are_not(ledger: Ledger, tmp_path: Path):
    ledger.sites.sync_site(write_small_mine(tmp_path).site, NOW)
    put_messages(ledger, "mail", MAIL_RECIPIENT, 2)
    before = fingerprint(ledger, SITE_NAME)

    (leased,) = ledger.outbox.lease(5, ["mail"])
    ledger.outbox.later(leased, "no mail server")
    assert differences(before, fingerprint(ledger, SITE_NAME)) == []

    ledger.outbox.refused(leased, "no such user")  # no longer its lease, so nothing happens
    assert differences(before, fingerprint(ledger, SITE_NAME)) == []

    put_messages(ledger, "mail", "other@example.org", 1, first=2)
    (again,) = ledger.outbox.lease(5, ["mail"])
    ledger.outbox.sent(again, NOW + timedelta(days=1))
    seen = differences(before, fingerprint(ledger, SITE_NAME))
    assert len(seen) == 1
    assert seen[0].startswith("messages, only in the second: ")
    assert '"state": "sent"' in seen[0]
