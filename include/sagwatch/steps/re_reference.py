"""Move a track's reference point: an act of a person, recorded; every displacement of the track changes with it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.site import Site, Track
from sagwatch.engine.store import TrackStore
from sagwatch.errors import BadInputError
from sagwatch.steps.rank_references import surroundings
from sagwatch.steps.stack_members import stored, track_store

log = logging.getLogger(__name__)

#: A new reference point must have phase in this share of the interferograms: the others are left out of the stack.
LEAST_SEEN = 0.9


@dataclass(frozen=True, slots=True)
class Moved:
    """From where to where, in degrees, and in how many of how many interferograms the new place has phase."""

    old: tuple[float, float]
    new: tuple[float, float]
    seen: int
    of: int


def re_reference(
    site: Site,
    track: Track,
    ledger: Ledger,
    data: Path,
    as_of: datetime,
    *,
    who: str,
    why: str,
    place: tuple[float, float] | None = None,
    rank: int | None = None,
) -> Moved:
    """Pin another reference point, at a place (latitude, longitude) or by its rank among the candidates.

    The next update solves everything anew, as a new revision. No alert is touched by the act itself. What is judged
    afterwards is judged on a history that refers to the new point from its beginning, so there is no step at the
    change; contrasts against the surroundings do not depend on the reference, and a new point that itself moves shows
    as a motion of all quiet ground, which holds alerts (rule R8).

    Raises
    ------
    BadInputError
        The place is outside the grid, on water or in a hole of the height model, within the draw of a panel, in a
        zone that moves, or without phase in too many interferograms, or no reason is given.
    """
    if not why.strip() or not who.strip():
        raise BadInputError("say who moves the reference point and why: it is kept with every later result")
    store, pinned = track_store(track, data), ledger.sites.track(track.id)
    row, column = _pixel(track, ledger, store, place, rank)
    seen, of = _refuse_unfit(site, track, ledger, store, row, column)
    longitude, latitude = (float(value) for value in store.grid.lon_lat(row, column))
    ledger.network.move_reference(track.id, (row, column, latitude, longitude), who, why, as_of)
    assert pinned.reference_latitude is not None
    assert pinned.reference_longitude is not None
    old = (pinned.reference_latitude, pinned.reference_longitude)
    text = (
        f"reference moved from {old[0]:.5f}, {old[1]:.5f} to {latitude:.5f}, {longitude:.5f} by {who}: {why}"
    )
    log.warning("%s: %s", track.id, text)
    ledger.operations.record(
        "reference_moved",
        f"{track.id}: {text}; the next update solves everything anew",
        site=site.name,
        track_id=track.id,
        dedupe_key=f"reference_moved:{track.id}:{as_of.isoformat()}",
        as_of=as_of,
    )
    return Moved(old, (latitude, longitude), seen, of)


def _pixel(
    track: Track, ledger: Ledger, store: TrackStore, place: tuple[float, float] | None, rank: int | None
) -> tuple[int, int]:
    if (place is None) == (rank is None):
        raise BadInputError("name the new reference point by its latitude and longitude, or by its rank")
    if place is not None:
        try:
            return store.grid.row_column(place[1], place[0])
        except ValueError as problem:
            raise BadInputError(f"{track.id}: {problem}; take a place inside") from None
    ranked = {one.rank: one for one in ledger.network.candidates(track.id)}
    if rank not in ranked:
        raise BadInputError(
            f"{track.id} has no candidate of rank {rank}; it has {len(ranked)}: see the view "
            "analyst.stable_points, and `python -m sagwatch rank-references`"
        )
    return ranked[rank].row, ranked[rank].column


def _refuse_unfit(
    site: Site, track: Track, ledger: Ledger, store: TrackStore, row: int, column: int
) -> tuple[int, int]:
    """Look at the place in every interferogram that may be in the stack; in how many of how many it has phase."""
    where, about = (
        f"{track.id}: row {row}, column {column}",
        surroundings(site, store.grid, store.read_geometry()),
    )
    if not about.land[row, column]:
        raise BadInputError(
            f"{where} is water, or its height is not known; take a place on stable, dry ground"
        )
    if about.undermined is not None and about.undermined[row, column]:
        raise BadInputError(
            f"{where} lies within {site.datum.draw_m:g} m of a face of the mine plan, so it moves, has moved or will; "
            "take a place farther away, or lower datum.draw_m in the site file"
        )
    if (zone := ledger.network.zone_at(track.id, row, column)) is not None:
        raise BadInputError(f"{where} lies in zone {zone}, which moves; take a place on stable ground")
    members = ledger.network.with_or_without_reference(track.id)
    if not members:
        raise BadInputError(f"{track.id} has no interferogram yet")
    phase = store.stack(stored(members)).reference_phase(row, column)
    seen, of = int(np.count_nonzero(np.isfinite(phase) & (phase != 0))), len(members)
    if seen < LEAST_SEEN * of:
        raise BadInputError(
            f"{where} has phase in {seen} of {of} interferograms; the others would be "
            f"left out, and at least {LEAST_SEEN:.0%} are needed: take another place (view analyst.stable_points)"
        )
    return seen, of
