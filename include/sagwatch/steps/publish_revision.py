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
from sagwatch.adapters.database.published_arrays import PublishedArrays
from sagwatch.domain.alert_rules import AlertRules, WindowRules
from sagwatch.domain.blind_spots import Blind, GradientLimit, blind_spots, record_steps, steep_faces
from sagwatch.domain.influence import Influence, influence
from sagwatch.domain.judge import look_again
from sagwatch.domain.judgement import GroundView, Judged, WatchState
from sagwatch.domain.message import Origin, next_expected
from sagwatch.domain.mine import Mine
from sagwatch.domain.point_stages import STAGES, point_stages
from sagwatch.domain.provisional import provisional_sentence
from sagwatch.domain.reasons import Reason
from sagwatch.domain.settling import holds_judgement
from sagwatch.domain.site import Site, Track
from sagwatch.domain.windows import EVIDENCE, WindowVelocity, evidence_classes
from sagwatch.domain.witness import against_quiet_ground
from sagwatch.engine.correction_files import stored_corrections
from sagwatch.engine.corrections import without_topography
from sagwatch.engine.revision import Revision, read_revision, solve_past, verify
from sagwatch.engine.stack import Stack
from sagwatch.engine.store import TrackStore
from sagwatch.errors import FencedError
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
    revision = read_revision(data / row.folder)
    store, mine = track_store(track, data), Mine.of(site, revision.grid)
    judged = judge_settled(
        track.id,
        revision.grid,
        site.alerts,
        site.inversion.min_temporal_coherence,
        epochs,
        state,
        solutions(site, track, store, revision),
        mine,
    )
    arrays = _published_arrays(site, revision, store, mine, judged, state) if goes_live or judged else None
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
        zones = {event.subject for verdict in judged for event in verdict.events if event.zone_id is not None}
        others = ledger.alerts.other_views(session, track.id, zones)
        messages = compose_messages(ledger.outbox, session, site, judged, origin, as_of, others)
        if arrays is not None:
            history_only = int(np.count_nonzero(arrays.why_not == Reason.HISTORY_ONLY))
            sentences = _provisional_tracks(site, track, row, ledger)
            messages += compose_digest(
                ledger.alerts, ledger.outbox, session, site, history_only, as_of, sentences
            )
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


def _provisional_tracks(site: Site, track: Track, row: RevisionRow, ledger: Ledger) -> list[str]:
    """A sentence for each of the site's tracks where something is provisional; ``row`` is about to go live."""
    rows = {one.name: row if one.name == track.name else ledger.revisions.head(one.id) for one in site.tracks}
    told = {name: provisional_sentence(shown.inputs()) for name, shown in rows.items() if shown is not None}
    return [f"Track {name}. {sentence}" for name, sentence in told.items() if sentence is not None]


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
        provisional=provisional_sentence(row.inputs()),
        refer_to=site.datum.refer_to,
    )


def solutions(site: Site, track: Track, store: TrackStore, revision: Revision) -> Callable[[date], Solution]:
    """The solution as it was when each acquisition was the newest one; the price of one is that of an update."""
    stack = store.stack(revision.manifest.members)
    settings = revision_settings(site, track)
    incidence_deg = _incidence_deg(store)

    def until(day: date) -> Solution:
        if day >= revision.epochs[-1]:
            return _whole(revision, stack, revision.los_m(), incidence_deg)
        past = solve_past(revision, stack, settings, day)
        return Solution(
            dates=past.dates,
            los_m=past.los_m,
            temporal_coherence=_on_land(revision, past.temporal_coherence),
            observed=past.observed,
            incidence_deg=incidence_deg,
            misclosed=misclosed(stack, past.dates[-1]),
            pairs=_pairs(stack, past.dates[-1]),
        )

    return until


def _whole(
    revision: Revision, stack: Stack, los_m: NDArray[np.float32], incidence_deg: float | None
) -> Solution:
    return Solution(
        dates=tuple(revision.epochs),
        los_m=los_m,
        temporal_coherence=_on_land(revision, revision.layers.temporal_coherence),
        observed=revision.observed(),
        incidence_deg=incidence_deg,
        misclosed=misclosed(stack, revision.epochs[-1]),
        pairs=_pairs(stack, revision.epochs[-1]),
    )


def _pairs(stack: Stack, day: date) -> tuple[tuple[date, date], ...]:
    """Those of which a solution that ends with a day is made."""
    return tuple((one.reference, one.secondary) for one in stack.members if one.secondary <= day)


def _on_land(revision: Revision, temporal_coherence: np.ndarray) -> np.ndarray:
    """Water has no temporal coherence, so nothing on it is ever reliable."""
    return np.where(revision.layers.land, temporal_coherence, np.nan).astype(np.float32)


def _incidence_deg(store: TrackStore) -> float | None:
    angles = store.read_geometry().incidence_deg
    return float(np.nanmean(angles)) if np.isfinite(angles).any() else None


def _published_arrays(
    site: Site, revision: Revision, store: TrackStore, mine: Mine, judged: list[Judged], state: WatchState
) -> PublishedArrays:
    """What readers see of the revision, with the zones and reasons of the last judgement."""
    stack = store.stack(revision.manifest.members)
    found = stored_corrections(revision.folder, revision.manifest)
    kept_m = revision.los_with_topography_m()
    los_m = kept_m if found is None else without_topography(kept_m.copy(), slice(None), found)
    solution = _whole(revision, stack, los_m, _incidence_deg(store))
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
    worded = site.alerts.on_pixels(revision.grid.pixel_m)
    limit = GradientLimit.of(revision.grid, revision.epochs, solution.incidence_deg)

    def observed_mm(los_m: NDArray[np.float32]) -> NDArray[np.float32]:
        assert solution.observed is not None
        return np.where(solution.observed, los_m * np.float32(1000), np.float32(np.nan))

    return PublishedArrays(
        grid=revision.grid,
        epochs=tuple(revision.epochs),
        los_mm=observed_mm(kept_m),
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
        blind=_blind_spots(site, revision, observed_mm(los_m), shown, mine, limit),
        blind_texts={
            int(kind): kind.words(limit, site.alerts.blind.step_share)
            for kind in Blind
            if kind is not Blind.NONE
        },
        incidence_deg=solution.incidence_deg,
        stage=stages.stage,
        stage_texts=dict(enumerate(STAGES)),
        stage_since=stages.since,
        stage_confidence=stages.confidence,
        topography_mm_per_m=None
        if found is None or found.per_baseline is None
        else found.per_baseline * 1000,
        perpendicular_m=None if found is None else found.baselines_m,
    )


def _blind_spots(
    site: Site,
    revision: Revision,
    los_mm: NDArray[np.float32],
    shown: GroundView,
    mine: Mine,
    limit: GradientLimit,
) -> NDArray[np.uint8]:
    land = revision.layers.land
    return blind_spots(
        record_steps(revision.epochs, los_mm, land),
        site.alerts.blind.step_share,
        has_data=shown.observed,
        reliable=shown.reliable,
        land=land,
        contradicted=shown.misclosed,
        under_face=steep_faces(mine, revision.grid, revision.epochs[-1], limit),
    )
