"""Look at a track's stack before it is solved, in seconds: what forbids it, and what a person should know."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.site import Site, Track
from sagwatch.engine import checks
from sagwatch.engine.checks import Finding
from sagwatch.engine.correction_files import check_corrections, stored_corrections
from sagwatch.engine.manifest import read_manifest
from sagwatch.engine.window import Effort
from sagwatch.steps.stack_members import stored, track_store


def check_stack(
    site: Site, track: Track, ledger: Ledger, data: Path, *, only_new: bool = False
) -> list[Finding]:
    """What is found, by its number; empty where all is well. Changes nothing.

    Parameters
    ----------
    only_new
        Open only files that the newest revision does not stand on, and leave the reference and the disk to the update
        itself, which knows how much of them it needs.
    """
    store = track_store(track, data)
    members = stored(ledger.revisions.accepted_interferograms(track.id))
    newest = ledger.revisions.newest(track.id) if only_new else None
    known = set(newest.interferograms) if newest is not None else set()
    found = checks.check_stack(
        store.interferograms,
        store.grid,
        store.geometry_path,
        members,
        {member.id for member in members} - known,
        refuse_pieces=site.network.in_pieces == "refuse",
    )
    if only_new or any(finding.refused for finding in found):
        return found
    pinned, stack = ledger.sites.track(track.id), store.stack(members)
    if pinned.reference_row is not None and pinned.reference_column is not None:
        phase = stack.reference_phase(pinned.reference_row, pinned.reference_column)
        missing = checks.check_reference(phase, [member.name for member in stack.members])
        all_missing = bool(np.all(~np.isfinite(phase) | (phase == 0)))
        # One such pair is left out by the update; where all are, it is the reference that is wrong.
        found += [Finding(finding.number, all_missing, finding.where) for finding in missing]
    newest = ledger.revisions.newest(track.id)
    if newest is not None and (folder := data / newest.folder).is_dir():
        manifest = read_manifest(folder)
        found += check_corrections(folder, manifest, stored_corrections(folder, manifest))
    needed = checks.needed_bytes(stack.network, store.grid.pixels, 0, Effort())
    return found + checks.check_disk(store.folder, needed)
