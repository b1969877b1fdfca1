"""Check what is published against its hashes, and against MintPy."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.ids import opaque_id
from sagwatch.domain.site import AuditRules, Track
from sagwatch.engine.manifest import verify
from sagwatch.engine.mintpy_process import MintPyError
from sagwatch.engine.mintpy_programs import Differences, Sample, compare_with_mintpy
from sagwatch.errors import BadRevisionError

log = logging.getLogger(__name__)

#: Where a pixel's network is whole; MintPy's own float32 noise is half of it on long records.
TOLERANCE_MM = 0.01
#: Where a pixel's network falls into parts, MintPy's float32 noise is larger.
TORN_TOLERANCE_MM = 0.02
TOLERANCE_MM_YR = 0.01


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit of a revision found; ``problems`` is empty where all is well."""

    revision_id: str
    differences: Differences
    problems: tuple[str, ...]


def sample_of(rules: AuditRules, as_of: datetime) -> Sample | None:
    """The pixels that a site's audit of that day compares; None is all."""
    return None if rules.pixels is None else Sample(rules.pixels, rules.seed_on(as_of.date()))


def audit_track(
    track: Track, ledger: Ledger, data: Path, as_of: datetime, sample: Sample | None = None
) -> Audit | None:
    """Audit the revision that readers see, and write the result down; None where nothing is published.

    Every hash is checked; numbers on all pixels, or on a sample of them.

    Raises
    ------
    BadRevisionError
        A file is not what its hash says, or a number is not MintPy's.
    """
    head = ledger.revisions.head(track.id)
    if head is None:
        log.info("%s: nothing is published yet", track.id)
        return None
    folder = data / head.folder
    try:
        verify(folder)
    except BadRevisionError as problem:
        _write_down(ledger, track, head.id, (str(problem),), {}, as_of)
        raise
    # No table of differences, but a problem all the same: an audit that could not be made proves nothing.
    try:
        differences = compare_with_mintpy(folder, sample=sample)
    except MintPyError as problem:
        _write_down(ledger, track, head.id, (f"MintPy could not solve it: {problem}",), {}, as_of)
        raise
    audit = Audit(head.id, differences, problems_of(differences))
    log.info("%s, revision %d:\n%s", track.id, head.number, differences.table())
    _write_down(ledger, track, head.id, audit.problems, asdict(differences), as_of)
    if audit.problems:
        raise BadRevisionError(
            f"{track.id}, revision {head.number} differs from MintPy: {'; '.join(audit.problems)}"
        )
    return audit


def problems_of(differences: Differences) -> tuple[str, ...]:
    """What of the differences is beyond the tolerance, in words."""
    limits = (
        ("displacement", differences.whole_max_mm, TOLERANCE_MM, "mm"),
        ("displacement in torn networks", differences.torn_max_mm, TORN_TOLERANCE_MM, "mm"),
        ("velocity", differences.velocity_max_mm_yr, TOLERANCE_MM_YR, "mm/yr"),
    )
    # Written so that a NaN is a problem too.
    found = [
        f"{name} by up to {value:.4f} {unit}, {limit:g} are allowed"
        for name, value, limit, unit in limits
        if not value <= limit
    ]
    if (corrected := differences.corrected) is not None:
        for name, value, limit, unit in (
            ("corrected displacement", corrected.displacement_max_mm, TOLERANCE_MM, "mm"),
            ("corrected velocity", corrected.velocity_max_mm_yr, TOLERANCE_MM_YR, "mm/yr"),
        ):
            if not value <= limit:
                found.append(f"{name} by up to {value:.4f} {unit}, {limit:g} are allowed")
        if corrected.pixels == 0:
            found.append("no pixel's corrections could be compared")
    if differences.counts_that_differ:
        found.append(f"{differences.counts_that_differ} pixels have another number of observations")
    if differences.pixels == 0:
        found.append("no pixel could be compared")
    return tuple(found)


def _write_down(
    ledger: Ledger,
    track: Track,
    revision_id: str,
    problems: tuple[str, ...],
    details: dict[str, object],
    as_of: datetime,
) -> None:
    ledger.operations.record(
        "audit",
        f"{track.id}: {'; '.join(problems) if problems else 'every hash is right, every number is MintPy’s'}",
        severity="error" if problems else "info",
        site=track.site,
        track_id=track.id,
        dedupe_key=f"audit:{track.id}:{revision_id}:{as_of.isoformat()}:{opaque_id(problems)}",
        details={
            "revision_id": revision_id,
            "allowed_mm": TOLERANCE_MM,
            "allowed_torn_mm": TORN_TOLERANCE_MM,
            "allowed_mm_yr": TOLERANCE_MM_YR,
            **details,
        },
        as_of=as_of,
    )
