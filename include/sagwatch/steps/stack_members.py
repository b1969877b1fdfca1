"""Interferograms of the ledger in the engine's words."""

from __future__ import annotations

from collections.abc import Sequence

from sagwatch.adapters.database.revisions import AcceptedInterferogram
from sagwatch.engine.interferogram import StoredInterferogram


def stored(accepted: Sequence[AcceptedInterferogram]) -> list[StoredInterferogram]:
    """What the engine needs to know of accepted interferograms; a baseline that nobody knows is NaN."""
    return [
        StoredInterferogram(
            reference=entry.reference,
            secondary=entry.secondary,
            id=entry.id,
            sha256=entry.file_sha256,
            perpendicular_baseline_m=float("nan")
            if entry.perpendicular_baseline_m is None
            else entry.perpendicular_baseline_m,
        )
        for entry in accepted
    ]
