"""Judge what is new in a track's newest revision, and make it what readers see: one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.models import Revision as RevisionRow
from sagwatch.adapters.database.publication import PublishedArrays
from sagwatch.domain.blind_spots import GradientLimit, blind_words
from sagwatch.domain.influence import Influence, influence
from sagwatch.domain.judge import look_again
from sagwatch.domain.judgement import Judged, WatchState, pair_days
from sagwatch.domain.message import Origin, next_expected
from sagwatch.domain.mine import Mine
from sagwatch.domain.point_stages import STAGES, point_stages
from sagwatch.domain.reasons import Reason
from sagwatch.domain.settling import holds_judgement
from sagwatch.domain.site import AlertRules, Site, Track, WindowRules
from sagwatch.domain.windows import EVIDENCE, WindowVelocity, evidence_classes
from sagwatch.domain.witness import against_quiet_ground
from sagwatch.engine.revision import Revision, read_revision, solve_past, verify
from sagwatch.engine.store import TrackStore
from sagwatch.errors import FencedError
from sagwatch.steps.blind_spots import find_blind_spots, write_blind_spots
from sagwatch.steps.closure import misclosed
from sagwatch.steps.compose_digest import compose_digest
from sagwatch.steps.compose_messages import compose_messages
from sagwatch.steps.judge import Solution, ground_view, judge_settled
from sagwatch.steps.stack_members import revision_settings, track_store

log = logging.getLogger(__name__)

#: What is published beside the whole record, whatever windows the site's rules judge.
PUBLISHED_WINDOWS = (WindowRules(days=150, least_epochs=8), WindowRules(days=365, least_epochs=16))


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication did; ``judged`` counts acquisitions, ``events`` decisions about alerts."""

    revision_id: str
    number: int
    went_live: bool
    judged: int
    events: int
    messages: int


def publish_revision(
    site: Site, track: Track, ledger: Ledger, data: Path, as_of: datetime
) -> Published | None:
    """Judge every settled acquisition that was not judged yet, in order of date, and put the newest revision live.

    An acquisition is judged on the solution that ends with it, as soon as nothing more is expected for it, and
    once: runs, batches and crashes change no alert. Velocities, series, zones, alert events, messages and the head
    pointer appear together. None where nothing is new.

    Raises
    ------
    BadRevisionError
        The revision's folder is not what its manifest says.
    FencedError
        Another writer published meanwhile; nothing of this one is visible.
    """
    head = ledger.publication.head(track.id)
    row = ledger.revisions.newest(track.id)
    if row is None:
        log.info("%s: no revision to publish yet", track.id)
        return None
    goes_live = row.id != head.revision_id
    with ledger.begin() as session:
        state = ledger.alerts.load_state(session, track.id)
        judged_before = ledger.alerts.judged_epochs(session, track.id)
    settled = _settled(row, judged_before, ledger, track, as_of)
    # An acquisition older than the last one judged, or the very first, has no picture of its own to be judged on.
    first = max(state.last_epoch or date.min, row.epochs[0])
    late = [day for day in settled if day <= first]
    epochs = [day for day in settled if day > first]
    if not goes_live and not settled:
        log.info("%s: revision %d is live and judged; nothing is new", track.id, row.number)
        return None
    verify(data / row.folder, with_inputs=False)
    revision, store = read_revision(data / row.folder), track_store(track, data)
    judged = judge_settled(
        track.id,
        revision.grid,
        site.alerts,
        site.inversion.min_temporal_coherence,
        epochs,
        state,
        solutions(site, track, store, revision),
        Mine.of(site, revision.grid),
    )
    arrays = (
        _published_arrays(site, revision, judged, state, _limit(revision, store))
        if goes_live or judged
        else None
    )
    with ledger.begin() as session:
        digest = ledger.alerts.note_rules(session, site.name, site.alerts, as_of)
        if arrays is not None and not goes_live:
            ledger.publication.refresh_points(session, track.id, row.id, head.fence, arrays)
        elif arrays is not None:
            ledger.publication.put_live(
                session, track.id, row.id, head.revision_id, head.fence, arrays, as_of
            )
            ledger.alerts.note_influence(
                session, track.id, row.id, _influence(site, revision, arrays), revision.grid
            )
        ledger.alerts.note_late(session, track.id, late, row.id, digest, as_of)
        for verdict in judged:
            if not ledger.alerts.save_judgement(
                session, track.id, verdict, revision.grid, row.id, digest, as_of
            ):
                raise FencedError(f"{verdict.epoch} of {track.id} was judged by another writer meanwhile")
        origin = _origin(site, track, row)
        messages = compose_messages(ledger.outbox, session, site, judged, origin, as_of)
        if arrays is not None:
            history_only = int(np.count_nonzero(arrays.why_not == Reason.HISTORY_ONLY))
            messages += compose_digest(ledger.alerts, ledger.outbox, session, site, history_only, as_of)
    if arrays is not None and arrays.blind is not None:
        write_blind_spots(store.folder, revision, arrays.blind, _limit(revision, store))
    events = sum(len(verdict.events) for verdict in judged)
    log.info(
        "%s: revision %d %s; %d acquisitions judged, %d alert events, %d messages",
        track.id,
        row.number,
        "is live" if goes_live else "was live",
        len(judged),
        events,
        messages,
    )
    return Published(row.id, row.number, goes_live, len(judged), events, messages)


def _influence(site: Site, revision: Revision, arrays: PublishedArrays) -> Influence:
    """The 10 mm contour against the ground that is in no zone."""
    has_data = arrays.reliable & revision.observed()[-1]
    in_zone = arrays.zone >= 0
    moved = against_quiet_ground(arrays.los_mm[-1], has_data & ~in_zone)
    least_pixels = site.alerts.on_pixels(revision.grid.pixel_m).least_pixels
    return influence(revision.epochs[-1], moved, has_data, in_zone, least_pixels)


def _settled(
    row: RevisionRow, judged: frozenset[date], ledger: Ledger, track: Track, as_of: datetime
) -> list[date]:
    """Acquisitions of the revision that were not judged yet, up to the first one that is worth waiting for."""
    facts = {fact for about in ledger.acquisitions.pair_facts(track.id).values() for fact in about}
    awaited = [fact.secondary for fact in facts if holds_judgement(fact, as_of)]
    waiting = min(awaited, default=date.max)
    held = [day for day in row.epochs if day >= waiting and day not in judged]
    if held:
        log.info("%s: %s waits for interferograms before it is judged", track.id, held[0])
    return [day for day in row.epochs if day < waiting and day not in judged]


def _origin(site: Site, track: Track, row: RevisionRow) -> Origin:
    """Which data a message rests on."""
    longitude, latitude = track.grid.grid().lon_lat(row.reference_row, row.reference_column)
    return Origin(
        site_title=site.title,
        track_id=track.id,
        direction=track.direction,
        revision_id=row.id,
        revision_number=row.number,
        interferograms=len(row.interferograms),
        input_sha256=row.input_sha256,
        reference_latitude=float(latitude),
        reference_longitude=float(longitude),
        latest_epoch=row.epochs[-1],
        next_expected=next_expected(row.epochs),
    )


def solutions(site: Site, track: Track, store: TrackStore, revision: Revision) -> Callable[[date], Solution]:
    """The solution as it was when each acquisition was the newest one; the price of one is that of an update."""
    stack = store.stack(revision.manifest.members)
    settings = revision_settings(site, track)
    incidence_deg = _incidence_deg(store)

    def until(day: date) -> Solution:
        if day >= revision.epochs[-1]:
            return _whole(revision, incidence_deg, misclosed(stack, revision.epochs[-1]))
        past = solve_past(revision, stack, settings, day)
        return Solution(
            dates=past.dates,
            los_m=past.los_m,
            temporal_coherence=_on_land(revision, past.temporal_coherence),
            observed=past.observed,
            incidence_deg=incidence_deg,
            misclosed=misclosed(stack, past.dates[-1]),
        )

    return until


def _whole(
    revision: Revision, incidence_deg: float | None, contradicted: NDArray[np.bool_] | None = None
) -> Solution:
    return Solution(
        dates=tuple(revision.epochs),
        los_m=revision.los_m(),
        temporal_coherence=_on_land(revision, revision.layers.temporal_coherence),
        observed=revision.observed(),
        incidence_deg=incidence_deg,
        misclosed=contradicted,
    )


def _on_land(revision: Revision, temporal_coherence: np.ndarray) -> np.ndarray:
    """Water has no temporal coherence, so nothing on it is ever reliable."""
    return np.where(revision.layers.land, temporal_coherence, np.nan).astype(np.float32)


def _incidence_deg(store: TrackStore) -> float | None:
    angles = store.read_geometry().incidence_deg
    return float(np.nanmean(angles)) if np.isfinite(angles).any() else None


def _limit(revision: Revision, store: TrackStore) -> GradientLimit:
    """What neighbouring pixels may differ, of the interferograms that the track has now."""
    span = pair_days(revision.epochs)
    return GradientLimit.of(span, revision.grid.pixel_m, _incidence_deg(store))


def _published_arrays(
    site: Site, revision: Revision, judged: list[Judged], state: WatchState, limit: GradientLimit
) -> PublishedArrays:
    """What readers see of the revision, with the zones and reasons of the last judgement."""
    solution = _whole(revision, None)
    least = site.inversion.min_temporal_coherence
    newest = revision.epochs[-1]
    standard = AlertRules(**{**site.alerts.model_dump(), "windows": PUBLISHED_WINDOWS})
    shown = ground_view(newest, solution, standard, least, revision.grid.pixel_m)
    if judged and judged[-1].epoch == newest:
        last = judged[-1]
    else:
        view = ground_view(newest, solution, site.alerts, least, revision.grid.pixel_m)
        last = look_again(view, judged[-1].state if judged else state, site.alerts, revision.grid)
    windows: list[WindowVelocity] = [shown.whole, *shown.windows]
    stages = point_stages(
        revision.epochs,
        solution.los_m,
        shown.whole,
        shown.observed & shown.reliable,
        last.zone_index,
        revision.grid,
        site.alerts.ring_m,
    )
    blind = find_blind_spots(revision, shown, last.zone_index >= 0, site.alerts.blind)
    worded = site.alerts.on_pixels(revision.grid.pixel_m)
    return PublishedArrays(
        grid=revision.grid,
        epochs=tuple(revision.epochs),
        los_mm=np.where(revision.observed(), solution.los_m * np.float32(1000), np.float32(np.nan)),
        velocity_mm_yr={window.days: window.velocity_mm_yr for window in windows},
        velocity_sd_mm_yr={window.days: window.sd_mm_yr for window in windows},
        velocity_white_sd_mm_yr={window.days: window.sd_white_mm_yr for window in windows},
        epochs_used={window.days: window.n_epochs for window in windows},
        temporal_coherence=revision.layers.temporal_coherence,
        observations=revision.layers.n_observations,
        reliable=shown.reliable,
        why_not=last.reasons,
        why_not_texts={
            int(reason): reason.words(worded) for reason in Reason if reason is not Reason.IN_ALERT
        },
        zone=last.zone_index,
        zone_ids=dict(enumerate(last.zone_ids)),
        evidence=evidence_classes(shown.windows, site.alerts.levels_mm_yr[0]),
        evidence_texts=dict(enumerate(EVIDENCE)),
        stage=stages.stage,
        stage_texts=dict(enumerate(STAGES)),
        stage_since=stages.since,
        stage_confidence=stages.confidence,
        blind=blind,
        blind_texts={int(code): blind_words(int(code), limit) for code in np.unique(blind) if code},
    )
