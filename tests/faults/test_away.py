"""What the system needs is away for a while: nothing is lost, and everything goes on in order."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from launcher.cluster import temporary_cluster
from sagwatch.adapters.database.fingerprint import fingerprint
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.outbox import Outbox
from sagwatch.errors import TryAgainError
from sagwatch.simulation.running import RunningCloud, start
from sagwatch.steps.deliver_messages import Delivered, deliver_messages
from sagwatch.steps.ports import Messenger
from sagwatch.steps.watch_track import watch_track
from tests.faults.kill_loop import new_ledger
from tests.faults.plain_messengers import SmtpMessenger, WebhookMessenger
from tests.faults.play import read_books
from tests.faults.small_mine import MAIL_RECIPIENT, SITE_NAME, put_messages, write_small_mine
from tests.faults.worker import Worker, WorkOrder, stages_of

NOW = datetime(2024, 6, 1, tzinfo=UTC)
FIRST_PAUSE_SECONDS = 0.05


@pytest.mark.slow
def test_a_ledger_that_goes_away_in_the_middle_is_told_clearly_and_all_goes_on_when_it_is_back(
    tmp_path: Path,
):
    mine = write_small_mine(tmp_path / "mine")
    with (
        temporary_cluster() as cluster,
        new_ledger(cluster, "away") as url,
        start(tmp_path / "cloud", scenario=str(mine.scenario_file)) as cloud,
    ):
        order = WorkOrder(
            database_url=url,
            cloud_url=cloud.url,
            smtp_port=cloud.smtp_port,
            site_file=str(mine.site_file),
            data=str(tmp_path / "data"),
            note=str(tmp_path / "note.json"),
            stages=stages_of(cloud.timeline(), 4, 0),
        )
        worker = Worker(order)
        cloud.advance_to(order.stages[0])

        def lose_the_ledger(step: str) -> None:
            if step == "fetch_product":
                postmaster = cluster.postmaster()
                assert postmaster is not None
                os.kill(postmaster, signal.SIGKILL)

        track = worker.site.tracks[0]
        with pytest.raises(TryAgainError, match=rf"database away at 127\.0\.0\.1:{cluster.port} is away"):
            watch_track(worker.site, track, worker.tools(), poll_seconds=0.1, on_step=lose_the_ledger)
        with pytest.raises(TryAgainError, match="is away"):
            worker.ledger.operations.note_credits(1.0, NOW)

        cluster.start()
        published = watch_track(worker.site, track, worker.tools(), poll_seconds=0.1)

        assert published is not None
        assert published.went_live
        found = fingerprint(worker.ledger, SITE_NAME)
        assert {job["state"] for job in found["jobs"]} == {"fetched"}
        assert len(found["jobs"]) == len(read_books(cloud.url)["jobs"]) == 5
        assert found["points"]["count"] == 3000
        worker.ledger.close()


def test_messages_wait_while_mail_and_slack_are_away_and_go_out_in_order(ledger: Ledger, tmp_path: Path):
    mine = write_small_mine(tmp_path / "mine")
    ledger.outbox = Outbox(ledger, lease_seconds=0.5, first_pause_seconds=FIRST_PAUSE_SECONDS)
    ledger.sites.sync_site(mine.site, NOW)
    mails = put_messages(ledger, "mail", MAIL_RECIPIENT, 4)
    posts = put_messages(ledger, "slack", "sagwatch_slack", 3)
    with start(tmp_path / "cloud", scenario=str(mine.scenario_file)) as cloud:
        messengers = messengers_to(cloud)
        cloud.faults(smtp_down=True)
        assert deliver_messages(ledger, messengers, NOW) == Delivered(sent=3, waiting=4, refused=0)
        assert arrived(cloud, "slack") == posts

        posts += put_messages(ledger, "slack", "sagwatch_slack", 2, first=3)
        cloud.faults(smtp_down=True, slack_down=True)
        assert deliver_messages(ledger, messengers, NOW) == Delivered(sent=0, waiting=6, refused=0)
        ports = int(cloud.url.rpartition(":")[2]), cloud.smtp_port
        cloud.kill()
    assert deliver_messages(ledger, messengers, NOW) == Delivered(sent=0, waiting=6, refused=0)

    http_port, smtp_port = ports
    again = start(tmp_path / "cloud", scenario=str(mine.scenario_file), port=http_port, smtp_port=smtp_port)
    with again as cloud:
        cloud.faults()
        assert deliver_until_empty(ledger, messengers) == 6
        assert arrived(cloud, "mail") == mails
        assert arrived(cloud, "slack") == posts
        assert {message["copies"] for message in cloud.messages()} == {1}


def messengers_to(cloud: RunningCloud) -> dict[str, Messenger]:
    return {
        "mail": SmtpMessenger("127.0.0.1", cloud.smtp_port),
        "slack": WebhookMessenger(f"{cloud.url}/services/T0/B0/test"),
    }


def arrived(cloud: RunningCloud, kind: str) -> list[str]:
    """Message-IDs in the order of their arrival."""
    return [message["message_id"] for message in cloud.messages() if message["kind"] == kind]


def deliver_until_empty(ledger: Ledger, messengers: dict[str, Messenger]) -> int:
    sent = 0
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        delivered = deliver_messages(ledger, messengers, NOW)
        sent += delivered.sent
        if not delivered.waiting:
            return sent
        time.sleep(FIRST_PAUSE_SECONDS)
    raise AssertionError("messages still wait after 20 s")
