"""A track of the ledger in the engine's words: its folder, its rules, its interferograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shapely import to_wkt

from sagwatch.adapters.database.revisions import AcceptedInterferogram
from sagwatch.domain.mine import Mine
from sagwatch.domain.site import Site, Track
from sagwatch.engine.corrections import CorrectionSettings
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
        corrections=correction_settings(site, track),
    )


def correction_settings(site: Site, track: Track) -> CorrectionSettings | None:
    """What is corrected in the series; None where nothing is."""
    rules = site.corrections
    wanted = CorrectionSettings(
        troposphere=rules.troposphere.method,
        missing=rules.troposphere.missing,
        ramp=rules.ramp.shape,
        topography_order=rules.topography.polynomial_order if rules.topography.estimate else None,
        refer_to=site.datum.refer_to,
    )
    if not wanted.any:
        return None
    return replace(wanted, excluded=sinking_areas(site, track))


def sinking_areas(site: Site, track: Track) -> tuple[str, ...]:
    """The faces of the mine plan with the ground that they draw along, WKT in metres of the track's grid."""
    around_m = site.corrections.exclude_around_faces_m
    faces = Mine.of(site, track.grid.grid()).faces
    # Rounded to decimetres, so that the same plan is the same text.
    return tuple(to_wkt(shape.buffer(around_m), rounding_precision=1) for _, shape in faces)


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
