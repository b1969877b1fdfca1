"""Make the next revision of a track from its accepted interferograms."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.models import Revision
from sagwatch.adapters.database.network import BY_REFERENCE
from sagwatch.adapters.database.operations import Severity
from sagwatch.adapters.database.revisions import AcceptedInterferogram, BuiltRevision
from sagwatch.domain.delay import StoredDelay
from sagwatch.domain.ids import content_sha256, opaque_id
from sagwatch.domain.orbits import Orbits
from sagwatch.domain.provisional import EpochInputs
from sagwatch.domain.site import Site, Track
from sagwatch.engine.checks import Finding, check_reference, pieces, refuse
from sagwatch.engine.correction_files import (
    check_corrections,
    corrected_by_average,
    steady_until,
    stored_corrections,
    topography_state,
)
from sagwatch.engine.files import sha256_of
from sagwatch.engine.interferogram import COHERENCE, StoredInterferogram
from sagwatch.engine.manifest import (
    MANIFEST,
    Manifest,
    ReferencePoint,
    RevisionSettings,
    read_manifest,
    revision_id,
)
from sagwatch.engine.steady_ground import DECIDED_EVERY
from sagwatch.engine.store import TrackStore
from sagwatch.steps.check_stack import check_stack
from sagwatch.steps.rank_references import rank_references, ranked_places
from sagwatch.steps.repair_unwrapping import note_closures, repair_unwrapping
from sagwatch.steps.settle_acquisitions import settle_acquisitions
from sagwatch.steps.sort_interferograms import sort_interferograms
from sagwatch.steps.stack_members import revision_settings, stored, track_store

log = logging.getLogger(__name__)

#: A site without a reference point of its own waits for so many interferograms before one is chosen and pinned.
LEAST_PAIRS_TO_CHOOSE_REFERENCE = 3
#: Half of so many newest interferograms with less coherence at the reference point: what it tells is noise. Without any
#: coherence an estimate over a few dozen looks reads 0.1 to 0.2.
NEWEST_AT_REFERENCE, LEAST_COHERENCE_AT_REFERENCE = 6, 0.2


def update_stack(site: Site, track: Track, ledger: Ledger, data: Path, as_of: datetime) -> str | None:
    """Solve the track's interferograms and write the revision down; return its id.

    The newest revision's id comes back where nothing is new, None where there is nothing to solve yet. A pair
    without phase at the reference pixel is left out, with its reason in the ledger.

    Raises
    ------
    BadRevisionError
        Something forbids to solve the stack; the text has numbers, see `engine.checks`.
    """
    store = track_store(track, data)
    if sort_interferograms(site, track, ledger):
        settle_acquisitions(ledger, site, track, as_of)
    accepted = ledger.revisions.accepted_interferograms(track.id)
    if not accepted:
        log.info("%s: no interferogram yet, so there is nothing to solve", track.id)
        return None
    findings = check_stack(site, track, ledger, data, only_new=True)
    refuse(findings)
    _tell(findings, track, ledger, accepted, as_of)
    reference = _pinned_reference(site, track, ledger, store, accepted, as_of)
    if reference is None:
        return None
    seen = _with_phase_at(reference, accepted, store, ledger, track, as_of)
    if len(seen) < len(accepted):
        # Without those, others may be what holds the network together; and dates may have lost their last one.
        settle_acquisitions(ledger, site, track, as_of)
        if sort_interferograms(site, track, ledger):
            return update_stack(site, track, ledger, data, as_of)
    accepted = seen
    if not accepted:
        return None
    _tell_incoherent_reference(track, store, ledger, reference, accepted, as_of)
    accepted = repair_unwrapping(site, track, ledger, store, accepted, reference, data, as_of)
    if site.corrections.unwrapping.closure != "off":
        note_closures(track, ledger, store, accepted, reference)
    return _next_revision(site, track, ledger, store, accepted, reference, data, as_of).id


def _pinned_reference(
    site: Site,
    track: Track,
    ledger: Ledger,
    store: TrackStore,
    accepted: list[AcceptedInterferogram],
    as_of: datetime,
) -> ReferencePoint | None:
    """The reference pixel from the ledger; at the first time the site's own, or one chosen by rule, is pinned."""
    pinned = ledger.sites.track(track.id)
    if pinned.reference_row is not None and pinned.reference_column is not None:
        _tell_other_reference(track, store, ledger, (pinned.reference_row, pinned.reference_column), as_of)
        return ReferencePoint(pinned.reference_row, pinned.reference_column, pinned.reference_reason or "")
    if track.reference is not None:
        row, column = store.grid.row_column(track.reference.longitude, track.reference.latitude)
        chosen = ReferencePoint(row, column, "named in the site file")
    elif len(accepted) < LEAST_PAIRS_TO_CHOOSE_REFERENCE:
        log.info(
            "%s: %d interferograms are too few to choose a reference point; waiting for %d",
            track.id,
            len(accepted),
            LEAST_PAIRS_TO_CHOOSE_REFERENCE,
        )
        return None
    else:
        candidates = rank_references(site, track, store, accepted)
        chosen = candidates[0].point
        ledger.network.note_candidates(track.id, ranked_places(candidates, store.grid), as_of)
    longitude, latitude = store.grid.lon_lat(chosen.row, chosen.column)
    ledger.sites.pin_reference(
        track.id, chosen.row, chosen.column, float(latitude), float(longitude), chosen.reason, as_of
    )
    log.info("%s: reference pinned at %.5f N, %.5f E: %s", track.id, latitude, longitude, chosen.reason)
    return chosen


def _tell_other_reference(
    track: Track, store: TrackStore, ledger: Ledger, pinned: tuple[int, int], as_of: datetime
) -> None:
    """An edited site file moves no reference point; that nobody may take it for moved, it is told once."""
    if track.reference is None:
        return
    named = store.grid.row_column(track.reference.longitude, track.reference.latitude)
    if named == pinned:
        return
    place = f"{track.reference.latitude:.5f}, {track.reference.longitude:.5f}"
    text = (
        f"the site file names the reference point {place} (row {named[0]}, column {named[1]}), pinned is row "
        f"{pinned[0]}, column {pinned[1]}, and everything still refers to that: move it by `python -m sagwatch "
        "re-reference`, or take the key `reference` out"
    )
    _tell_once(track, ledger, "reference_not_moved", text, f"{pinned}:{named}", as_of)


def _tell_incoherent_reference(
    track: Track,
    store: TrackStore,
    ledger: Ledger,
    reference: ReferencePoint,
    accepted: list[AcceptedInterferogram],
    as_of: datetime,
) -> None:
    """A reference with phase but without coherence any more shakes every displacement: told once a month."""
    newest = sorted(stored(accepted), key=lambda pair: (pair.secondary, pair.reference))[
        -NEWEST_AT_REFERENCE:
    ]
    rows = slice(reference.row, reference.row + 1)
    coherence = float(np.nanmedian(store.stack(newest).read(COHERENCE, rows)[:, reference.column]))
    if len(newest) < NEWEST_AT_REFERENCE or coherence >= LEAST_COHERENCE_AT_REFERENCE:
        return
    text = (
        f"the {len(newest)} newest interferograms have a median coherence of {coherence:.2f} at the reference point, "
        "so its noise is in every displacement that refers to it (datum.refer_to). Contrasts, and the alerts that "
        "rest on them, do not depend on it. Choose another point: `python -m sagwatch rank-references` and "
        "`re-reference`"
    )
    log.warning("%s: %s", track.id, text)
    about = f"{reference.row}:{reference.column}:{as_of:%Y-%m}"
    _tell_once(track, ledger, "reference_incoherent", text, about, as_of)


def _tell(
    findings: list[Finding],
    track: Track,
    ledger: Ledger,
    accepted: list[AcceptedInterferogram],
    as_of: datetime,
) -> None:
    """Note what a person should know although the stack is solved; a network in pieces once for each new break."""
    for finding in findings:
        log.warning("%s: %s", track.id, finding)
        if finding.number == 109:
            begins = [piece[0].isoformat() for piece in pieces(stored(accepted))]
            details = {"pieces_begin": begins}
            _tell_once(track, ledger, "network_in_pieces", finding, opaque_id(*begins), as_of, details)


def _tell_of_corrections(
    findings: Sequence[Finding], track: Track, ledger: Ledger, manifest: Manifest, as_of: datetime
) -> None:
    """Once for each configuration of the corrections, and for each set of acquisitions or year in which it holds."""
    for finding in findings:
        log.warning("%s: %s", track.id, finding)
        holds = finding.where if finding.number == 122 else f"{manifest.epochs[-1].year}"
        about = opaque_id(finding.code, content_sha256(manifest.settings["corrections"]), holds)
        _tell_once(track, ledger, "corrections", finding, about, as_of, {"number": finding.number})


def _tell_of_steady_ground(
    site: Site, track: Track, ledger: Ledger, before: Revision, until: date, as_of: datetime
) -> None:
    """Steady ground that is decided anew changes the whole record a little; a young record does it every time."""
    earlier = before.summary.get("steady_until")
    if earlier is None or earlier == until.isoformat() or len(before.epochs) < DECIDED_EVERY:
        return
    what = "ramps and what displacements refer to" if site.datum.refer_to == "steady_ground" else "ramps"
    text = (
        f"the steady ground behind {what} was decided anew, from the acquisitions until {until} (before: {earlier}), "
        "so displacements of the whole record change a little"
    )
    _tell_once(track, ledger, "steady_ground", text, f"{until}", as_of, severity="info")


def _tell_once(
    track: Track,
    ledger: Ledger,
    kind: str,
    text: object,
    about: str,
    as_of: datetime,
    details: Mapping[str, Any] | None = None,
    severity: Severity = "warning",
) -> None:
    """An event of the track, once for each thing that it is about."""
    ledger.operations.record(
        kind,
        f"{track.id}: {text}",
        site=track.site,
        track_id=track.id,
        dedupe_key=f"{kind}:{track.id}:{about}",
        details=details,
        severity=severity,
        as_of=as_of,
    )


def _with_phase_at(
    reference: ReferencePoint,
    accepted: list[AcceptedInterferogram],
    store: TrackStore,
    ledger: Ledger,
    track: Track,
    as_of: datetime,
) -> list[AcceptedInterferogram]:
    """Leave out pairs that say nothing about the reference pixel: one of them would poison every other pixel.

    Raises
    ------
    BadRevisionError
        None says anything about it: then it is the reference pixel that is wrong.
    """
    newest = ledger.revisions.newest(track.id)
    solved = newest is not None and (newest.reference_row, newest.reference_column) == (
        reference.row,
        reference.column,
    )
    # Those that were solved with this reference had phase there.
    known = set(newest.interferograms) if newest is not None and solved else set()
    good = [entry for entry in accepted if entry.id in known]
    new = sorted((e for e in accepted if e.id not in known), key=lambda e: (e.reference, e.secondary))
    if not new:
        return good
    phase = store.stack(stored(new)).reference_phase(reference.row, reference.column)
    if not good:
        missing = check_reference(phase, [member.name for member in stored(new)])
        refuse(missing if np.all(~np.isfinite(phase) | (phase == 0)) else [])
    for entry, value in zip(new, phase, strict=True):
        if np.isfinite(value) and value != 0:
            good.append(entry)
            continue
        reason = "no phase at the track's reference point"
        log.warning(
            "%s: interferogram %s_%s left out: %s", track.id, entry.reference, entry.secondary, reason
        )
        ledger.revisions.leave_out(entry.id, reason, BY_REFERENCE)
        ledger.operations.record(
            "interferogram_left_out",
            f"the interferogram of {entry.reference} and {entry.secondary} of {track.id} is left out: {reason}",
            site=track.site,
            track_id=track.id,
            dedupe_key=f"left_out:{entry.id}",
            as_of=as_of,
        )
    return good


def _next_revision(
    site: Site,
    track: Track,
    ledger: Ledger,
    store: TrackStore,
    accepted: list[AcceptedInterferogram],
    reference: ReferencePoint,
    data: Path,
    as_of: datetime,
) -> Revision:
    settings = revision_settings(site, track)
    members = stored(accepted)
    stack = store.stack(members)
    delays = _delays(site, track, ledger, stack.dates)
    identity = revision_id(
        stack.members, settings, reference, store.grid, sha256_of(store.geometry_path), delays
    )
    newest = ledger.revisions.newest(track.id)
    if newest is not None and newest.id == identity:
        log.info(
            "%s: revision %d already holds these %d interferograms", track.id, newest.number, len(members)
        )
        return newest
    number = ledger.revisions.next_number(track.id)
    closures = site.corrections.unwrapping.closure != "off"
    folder = store.build_revision(number, members, settings, reference, delays=delays, closures=closures)
    log.info(
        "%s: revision %d solved: %d interferograms, %d acquisitions from %s to %s",
        track.id,
        number,
        len(members),
        len(stack.dates),
        stack.dates[0],
        stack.dates[-1],
    )
    manifest = read_manifest(folder)
    corrections = stored_corrections(folder, manifest)
    findings = check_corrections(folder, manifest, corrections)
    _tell_of_corrections(findings, track, ledger, manifest, as_of)
    until = steady_until(folder)
    if until is not None and newest is not None:
        _tell_of_steady_ground(site, track, ledger, newest, until, as_of)
    head = ledger.revisions.head(track.id)
    return ledger.revisions.write_down(
        BuiltRevision(
            id=identity,
            track_id=track.id,
            number=number,
            parent_id=head.id if head else None,
            input_sha256=_input_sha256(stack.members, delays),
            config_sha256=_config_sha256(site, track, settings, reference),
            folder=str(folder.relative_to(data)),
            manifest_sha256=sha256_of(folder / MANIFEST),
            interferograms=[member.id for member in stack.members],
            epochs=stack.dates,
            reference_row=reference.row,
            reference_column=reference.column,
            summary={
                "pairs": len(members),
                "epochs": len(stack.dates),
                "average_correction": [f"{day}" for day in corrected_by_average(manifest, corrections)],
                "topography": topography_state(manifest, corrections),
                "steady_until": None if until is None else until.isoformat(),
            },
            inputs=epoch_inputs(
                site,
                stack.dates,
                delays,
                ledger.network.epoch_orbits([member.id for member in stack.members]),
            ),
            perpendicular_m=stack.perpendicular_baselines_m[1].tolist(),
        ),
        as_of,
    )


def _delays(site: Site, track: Track, ledger: Ledger, days: Sequence[date]) -> dict[date, StoredDelay]:
    """The delay that each acquisition has now; none where the site wants none."""
    method = site.corrections.troposphere.method
    held = ledger.weather.delays(track.id, method)
    return {day: held[day] for day in days if day in held}


def _input_sha256(members: Sequence[StoredInterferogram], delays: Mapping[date, StoredDelay]) -> str:
    """Of everything that a revision is made from: another delay is another input, like another interferogram."""
    parts = [(member.name, member.sha256) for member in members]
    return content_sha256([*parts, *((day.isoformat(), delays[day].sha256) for day in sorted(delays))])


def _config_sha256(site: Site, track: Track, settings: RevisionSettings, reference: ReferencePoint) -> str:
    """Of everything else that its numbers depend on; the mine plan says where no ground is steady."""
    words = [site.solution_config_sha256(track), reference.row, reference.column]
    if settings.corrections is not None:
        words.append(list(settings.corrections.excluded))
    return content_sha256(words)


def epoch_inputs(
    site: Site,
    days: Sequence[date],
    delays: Mapping[date, StoredDelay],
    orbits: Mapping[date, Orbits] = MappingProxyType({}),
) -> tuple[EpochInputs, ...]:
    """How good the weather and the orbits of each acquisition are."""
    without = {"none": "off", "height_correlation": "estimated"}.get(
        site.corrections.troposphere.method, "none"
    )
    return tuple(
        EpochInputs(
            day,
            troposphere=delays[day].state.value if day in delays else without,
            orbits=orbits.get(day, Orbits.UNKNOWN).value,
        )
        for day in days
    )
