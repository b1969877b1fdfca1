"""Maintenance and audit: what they keep, what they remove, what they notice."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from geoalchemy2.shape import from_shape
from shapely.geometry import box
from sqlalchemy import select

from sagwatch.adapters.database import models
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.grid import Grid
from sagwatch.engine.mintpy_programs import Differences
from sagwatch.engine.store import TrackStore
from sagwatch.errors import BadRevisionError
from sagwatch.orchestration import tasks
from sagwatch.orchestration.upkeep import maintain
from sagwatch.steps.audit_track import problems_of
from sagwatch.steps.clear_leftovers import clear_leftovers
from sagwatch.steps.heartbeat import heartbeat
from sagwatch.steps.retire_revisions import KEEP_NEWEST, retire_revisions

from .conftest import SITE, Outside
from .test_whole_run import count, tasks_until_ordered

NOW = datetime(2024, 7, 1, tzinfo=UTC)
GRID = {"epsg": 32649, "west": 0.0, "north": 800.0, "pixel_m": 80.0, "columns": 4, "rows": 4}


# ---- retention -----------------------------------------------------------------------------------------------------


def revisions(ledger: Ledger, numbers: int, named_by_alert: int) -> None:
    """So many revisions of a track; the last is live, one was what an alert was decided on."""
    site = models.Site(
        name="shaqu",
        title="Shaqu",
        boundary=from_shape(box(110, 37, 111, 38), srid=4326),
        config={},
        config_sha256="c",
        first_seen_at=NOW,
        changed_at=NOW,
    )
    track = models.Track(
        id="shaqu/t011a",
        site="shaqu",
        name="t011a",
        relative_orbit=11,
        direction="ascending",
        grid=GRID,
        grid_id=Grid(**GRID).id,
    )
    names = {"track_id": track.id, "epoch": date(2024, 5, 1)}
    decided = {"revision_id": f"r{named_by_alert}"}
    things: list[Any] = [
        site,
        track,
        *(revision(number, numbers) for number in range(1, numbers + 1)),
        models.Judgement(**names, **decided, rules_sha256="x", zones=1, judged_at=NOW),
        models.Zone(
            id="z",
            track_id=track.id,
            name="z",
            born_epoch=names["epoch"],
            last_epoch=names["epoch"],
            episode=1,
            updates_unseen=0,
        ),
        models.Alert(
            id="a",
            track_id=track.id,
            subject="z",
            zone_id="z",
            rule="R1",
            rules_sha256="x",
            episode=1,
            state="raised",
            level=1,
            pending_level=1,
            updates_beyond=2,
            updates_below=0,
            last_epoch=names["epoch"],
        ),
        models.AlertEvent(
            **names,
            **decided,
            id="e",
            alert_id="a",
            type="raised",
            from_state="pending",
            to_state="raised",
            from_level=0,
            to_level=1,
            evidence={},
            sentence="s",
            decided_at=NOW,
        ),
    ]
    with ledger.begin() as session:
        for thing in things:
            session.add(thing)
            session.flush()
        track.head_revision_id = f"r{numbers}"


def revision(number: int, last: int) -> models.Revision:
    return models.Revision(
        id=f"r{number}",
        track_id="shaqu/t011a",
        number=number,
        input_sha256=str(number),
        config_sha256="c",
        folder=f"shaqu/t011a/revisions/{number:06d}-r{number}",
        manifest_sha256="m",
        interferograms=[],
        epochs=[],
        troposphere=[],
        orbits=[],
        reference_row=0,
        reference_column=0,
        summary={},
        state="live" if number == last else "retired",
        built_at=NOW,
    )


def test_old_folders_go_but_not_what_is_seen_new_or_what_an_alert_was_decided_on(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revisions(ledger, numbers=KEEP_NEWEST + 4, named_by_alert=2)
    for number in range(1, KEEP_NEWEST + 5):
        (tmp_path / f"shaqu/t011a/revisions/{number:06d}-r{number}").mkdir(parents=True)
    (tmp_path / "shaqu/t011a/revisions/000004-r4").rmdir()  # a run was killed after it had removed this one
    monkeypatch.setattr(TrackStore, "delete_revision", lambda store, name: (store.revisions / name).rmdir())

    removed = retire_revisions(ledger, tmp_path, NOW)

    assert removed == ["r1", "r3", "r4"]
    left = {path.name for path in (tmp_path / "shaqu/t011a/revisions").iterdir()}
    assert left == {f"{number:06d}-r{number}" for number in [2, *range(5, KEEP_NEWEST + 5)]}
    assert retire_revisions(ledger, tmp_path, NOW) == []
    assert ledger.revisions.get("r1") is not None


# ---- leftovers -----------------------------------------------------------------------------------------------------


def test_old_leftovers_go_but_not_young_ones_finished_files_or_what_a_process_holds(tmp_path: Path) -> None:
    folder = tmp_path / "shaqu" / "t011a" / "interferograms"
    folder.mkdir(parents=True)
    now = datetime.now(UTC)
    old = (now - timedelta(days=2)).timestamp()
    for name in (".making-1-a.h5", ".making-2-b.h5", "finished.h5"):
        (folder / name).touch()
    for name in ("held", "abandoned"):
        (tmp_path / "incoming" / name / "layers-1").mkdir(parents=True)
    for path in (folder / ".making-1-a.h5", folder / "finished.h5", *(tmp_path / "incoming").iterdir()):
        os.utime(path, (old, old))
    holder = os.open(tmp_path / "incoming" / "held", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)

    removed = clear_leftovers(tmp_path, now)

    os.close(holder)
    assert removed == [tmp_path / "incoming" / "abandoned", folder / ".making-1-a.h5"]
    assert sorted(path.name for path in folder.iterdir()) == [".making-2-b.h5", "finished.h5"]


def test_one_heartbeat_a_day(ledger: Ledger) -> None:
    assert heartbeat(ledger, NOW)
    assert not heartbeat(ledger, NOW + timedelta(hours=5))
    assert heartbeat(ledger, NOW + timedelta(days=1))


# ---- audit ---------------------------------------------------------------------------------------------------------


def differences(**changed: float) -> Differences:
    values = dict.fromkeys(Differences.__dataclass_fields__, 0) | {"pixels": 100, "corrected": None} | changed
    return Differences(**values)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (differences(), ()),
        (differences(whole_max_mm=0.009, torn_max_mm=0.019, velocity_max_mm_yr=0.009), ()),
        (differences(whole_max_mm=0.011), ("displacement by up to 0.0110 mm",)),
        (differences(torn_max_mm=0.021), ("torn networks",)),
        (differences(velocity_max_mm_yr=float("nan")), ("velocity by up to nan",)),
        (differences(pixels=0), ("no pixel",)),
        (differences(counts_that_differ=1), ("1 pixels have another number",)),
    ],
)
def test_what_is_beyond_the_tolerance_is_named(found: Differences, words: tuple[str, ...]) -> None:
    problems = problems_of(found)

    assert len(problems) == len(words)
    for problem, word in zip(problems, words, strict=True):
        assert word in problem


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_an_audit_agrees_with_mintpy_notices_a_flipped_byte_and_maintenance_runs(outside: Outside) -> None:
    outside.cloud.show(3, path=11)
    tasks_until_ordered(outside)
    while (sensed := tasks.sense("shaqu", "t011a")).open:
        pass
    for job in sensed.finished:
        tasks.fetch_product("shaqu", "t011a", job)
    tasks.update_stack("shaqu", "t011a")
    tasks.publish_revision("shaqu", "t011a")

    tasks.audit_track("shaqu", "t011a")
    assert audits(outside) == ["info"]

    series = outside.data / outside.ledger.revisions.head("shaqu/t011a").folder / "velocity.h5"
    series.chmod(0o644)
    content = bytearray(series.read_bytes())
    content[-1] ^= 1
    series.write_bytes(content)
    with pytest.raises(BadRevisionError, match=r"velocity\.h5"):
        tasks.audit_track("shaqu", "t011a")
    assert audits(outside) == ["info", "error"]

    assert str(maintain(doc_md="").test().state) == "success"
    assert count(outside, models.CreditReading) >= 1
    assert count(outside, models.OperationEvent, models.OperationEvent.kind == "heartbeat") == 1
    assert outside.ledger.sites.site(SITE["name"]).archived_at is None
    (outside.sites / "shaqu.yaml").unlink()
    tasks.sync_sites()
    assert outside.ledger.sites.site(SITE["name"]).archived_at is not None


def audits(outside: Outside) -> list[str]:
    with outside.ledger.begin() as session:
        return list(
            session.scalars(
                select(models.OperationEvent.severity)
                .where(models.OperationEvent.kind == "audit")
                .order_by(models.OperationEvent.id)
            )
        )
