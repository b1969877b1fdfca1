"""Ask HyP3 once about every open job of a track, and note its answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.orders import JobRecord
from sagwatch.domain.order import CloudJob, JobState
from sagwatch.domain.site import Site, Track
from sagwatch.steps.ports import InsarCloud
from sagwatch.steps.settle_acquisitions import settle_acquisitions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sensed:
    """How many jobs still run, and the names of those whose product waits to be fetched."""

    open: int
    finished: tuple[str, ...]


def sense_jobs(site: Site, track: Track, cloud: InsarCloud, ledger: Ledger, as_of: datetime) -> Sensed:
    """Note what HyP3 says about a track's open jobs. A failed or expired one makes room for the next attempt."""
    records = ledger.orders.jobs(track.id, [JobState.OPEN, JobState.SUCCEEDED])
    running = [record for record in records if record.state == JobState.OPEN]
    answers = _ask(running, cloud, ledger)
    changed = False
    for record in running:
        changed |= _note(record, answers.get(record.name), ledger, as_of)
    for record in records:
        if record.state == JobState.SUCCEEDED and _expired(record.expires_at, as_of):
            _note_expired(record.name, ledger, as_of)
            changed = True
    if changed:
        settle_acquisitions(ledger, site, track, as_of)
    now = ledger.orders.jobs(track.id, [JobState.OPEN, JobState.SUCCEEDED])
    finished = tuple(record.name for record in now if record.state == JobState.SUCCEEDED)
    return Sensed(sum(record.state == JobState.OPEN for record in now), finished)


def _ask(running: Sequence[JobRecord], cloud: InsarCloud, ledger: Ledger) -> dict[str, CloudJob]:
    """HyP3's present answer about each job, by our name."""
    if not running:
        return {}
    since = min(r.requested_at for r in running if r.requested_at is not None)
    by_id = {job.id: job for job in cloud.jobs([r.hyp3_id for r in running if r.hyp3_id], since)}
    answers = {r.name: by_id[r.hyp3_id] for r in running if r.hyp3_id in by_id}
    lost = [record.name for record in running if record.name not in answers]
    if lost:
        # An id that HyP3 does not know is no proof: the job may live on under its name.
        found = cloud.find(lost, doubtful=True)
        ledger.orders.record_taken(found)
        answers |= found
    return answers


def _note(record: JobRecord, job: CloudJob | None, ledger: Ledger, as_of: datetime) -> bool:
    """Write one answer down; return whether it changed anything."""
    if job is None:
        log.warning("%s is known at HyP3 neither by id nor by name", record.name)
        text = f"HyP3 no longer knows the job {record.hyp3_id}, neither by id nor by name"
        ledger.orders.record_end(record.name, JobState.FAILED, as_of, text)
    elif job.status == "FAILED":
        text = f"HyP3 could not make it; its log: {', '.join(job.log_urls) or 'none'}"
        log.warning("%s (%s to %s) failed. %s", record.name, record.reference, record.secondary, text)
        ledger.orders.record_end(record.name, JobState.FAILED, as_of, text, job)
    elif job.status == "SUCCEEDED" and _expired(job.expires_at, as_of):
        _note_expired(record.name, ledger, as_of)
    elif job.status == "SUCCEEDED":
        log.info("%s (%s to %s) is made: %s", record.name, record.reference, record.secondary, job.file_name)
        ledger.orders.record_end(record.name, JobState.SUCCEEDED, as_of, None, job)
    else:
        return False
    return True


def _note_expired(name: str, ledger: Ledger, as_of: datetime) -> None:
    log.warning("%s expired before it was fetched; it will be ordered again", name)
    ledger.orders.record_end(name, JobState.EXPIRED, as_of, "HyP3 deleted the product before it was fetched")


def _expired(expires_at: datetime | None, as_of: datetime) -> bool:
    return expires_at is not None and expires_at <= as_of
