"""A track of the ledger in the engine's words: its folder, its rules, its interferograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shapely import to_wkt

from sagwatch.adapters.database.revisions import AcceptedInterferogram
from sagwatch.domain.mine import Mine
from sagwatch.domain.site import Site, Track
from sagwatch.engine.corrections import Corrections
from sagwatch.engine.interferogram import StoredInterferogram
from sagwatch.engine.manifest import RevisionSettings
from sagwatch.engine.store import TrackStore
from sagwatch.engine.weights import Weight


def track_store(track: Track, data: Path) -> TrackStore:
    """The track's folder of interferograms and revisions."""
    return TrackStore(data / track.site / track.name, track.grid.grid())


def revision_settings(site: Site, track: Track) -> RevisionSettings:
    """The site's rules in the engine's words."""
    return RevisionSettings(
        range_looks=track.range_looks,
        azimuth_looks=track.azimuth_looks,
        weight=Weight(site.inversion.weight),
        min_redundancy=site.inversion.min_redundancy,
        coherence_threshold=site.coherence.least_pixel,
        min_temporal_coherence=site.inversion.min_temporal_coherence,
        corrections=_corrections(site, track),
    )


def _corrections(site: Site, track: Track) -> Corrections:
    """The site's corrections; the mine plan counts where something is fitted to the ground beside it."""
    rules = site.corrections
    wanted = Corrections(
        troposphere=rules.troposphere.method,
        missing=rules.troposphere.missing,
        ramp=rules.ramp.shape,
        topography=rules.topography.estimate,
        polynomial_order=rules.topography.polynomial_order,
    )
    if not wanted.needs_mask:
        return wanted
    moving = Mine.of(site, track.grid.grid()).moving_ground
    return replace(wanted, excluded=tuple(to_wkt(shape, rounding_precision=0) for shape in moving))


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
