"""Rank the places that are fit to be a track's reference point: its interferograms, heights and mine plan decide."""

from __future__ import annotations

import numpy as np

from sagwatch.adapters.database.network import RankedPlace
from sagwatch.adapters.database.revisions import AcceptedInterferogram
from sagwatch.domain.grid import Grid
from sagwatch.domain.mine import Mine
from sagwatch.domain.site import Site, Track
from sagwatch.engine import reference
from sagwatch.engine.geometry import Geometry
from sagwatch.engine.reference import Candidate, ReferenceRules, Surroundings
from sagwatch.engine.store import TrackStore
from sagwatch.steps.stack_members import revision_settings, stored


def rank_references(
    site: Site, track: Track, store: TrackStore, accepted: list[AcceptedInterferogram]
) -> tuple[Candidate, ...]:
    """The candidates by the site's rules, the best first.

    Raises
    ------
    BadInputError
        There is none; the text says why.
    """
    return reference.rank_references(
        store.stack(stored(accepted)),
        revision_settings(site, track).inversion,
        surroundings(site, store.grid, store.read_geometry()),
        ReferenceRules(height_m=site.datum.height_m),
    )


def surroundings(site: Site, grid: Grid, geometry: Geometry) -> Surroundings:
    """What the site's files and the geometry say about each pixel."""
    mine = Mine.of(site, grid)
    seen = np.isfinite(geometry.height_m) & np.isfinite(geometry.incidence_deg)
    of_area_m = geometry.height_m[mine.licensed(grid) & seen]
    return Surroundings(
        land=geometry.land & seen if seen.any() else geometry.land,
        undermined=mine.undermined(site.datum.draw_m, grid) if site.faces else None,
        above_area_m=geometry.height_m - np.median(of_area_m) if of_area_m.size else None,
    )


def ranked_places(candidates: tuple[Candidate, ...], grid: Grid) -> list[RankedPlace]:
    """As the ledger keeps them."""
    places = []
    for rank, one in enumerate(candidates, start=1):
        longitude, latitude = grid.lon_lat(one.row, one.column)
        places.append(
            RankedPlace(
                rank=rank,
                row=one.row,
                column=one.column,
                latitude=float(latitude),
                longitude=float(longitude),
                score=one.score,
                mean_coherence=one.mean_coherence,
                temporal_coherence=one.temporal_coherence,
                unrest_mm_yr=1000 * one.unrest_m_yr,
                above_area_m=one.above_area_m,
            )
        )
    return places
