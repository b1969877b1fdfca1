"""Ask the catalogue what is new over a track."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.acquisition import Granule, Merged, Verdict, merge_granules
from sagwatch.domain.site import Site, Track, site_day_start
from sagwatch.errors import BadInputError
from sagwatch.steps.ports import Catalogue, CatalogueAnswer
from sagwatch.steps.settle_acquisitions import settle_acquisitions

log = logging.getLogger(__name__)

#: Every search looks so far back by acquisition; what is published still later is found by its update.
WINDOW = timedelta(days=90)
#: Searches by update overlap by so much: an index may take its time.
OVERLAP = timedelta(days=3)
#: A track that starts so long ago has been seen, if it exists at all.
SURELY_SEEN = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Detected:
    """What one search found: new acquisitions, all that the catalogue showed, and what became of new granules."""

    new: tuple[date, ...]
    acquisitions: int
    superseded: int
    refused: int


def detect_scenes(
    site: Site, track: Track, catalogue: Catalogue, ledger: Ledger, as_of: datetime
) -> Detected:
    """Make the ledger know every acquisition of a track that the catalogue shows, each once.

    Two overlapping windows: everything acquired lately, and everything published or changed since the last search.

    Raises
    ------
    BadInputError
        The catalogue has never shown a burst (or frame) of the track although it should have.
    IncompleteAnswerError, TryAgainError, StopAndAskError
        Nothing of the answer is used.
    """
    start, end = site_day_start(site.start), _end(site, as_of)
    searched_at = ledger.acquisitions.searched_at(track.id)
    updated: list[Granule] = []
    acquired_from = start
    if searched_at is not None:
        since = min(searched_at, as_of) - OVERLAP
        updated = [g for g in catalogue.updated_since(track, since) if start <= g.acquired_at <= end]
        oldest = min((g.acquired_at for g in updated), default=end)
        acquired_from = max(start, min(as_of - WINDOW, site_day_start(oldest.date())))
    reference = ledger.acquisitions.baseline_reference(track.id)
    answer = catalogue.search(track, acquired_from, end, reference)
    merged, news = _merge(track, answer, updated, ledger)
    new = ledger.acquisitions.record(track.id, merged, as_of)
    _refuse_what_does_not_exist(track, start, end, ledger)
    settle_acquisitions(ledger, site, track, as_of, just_found=new)
    detected = Detected(
        tuple(new),
        len(merged.acquisitions),
        sum(verdict.state == "superseded" for verdict in news),
        sum(verdict.state == "refused" for verdict in news),
    )
    log.info(
        "%s: %d new acquisitions%s; the catalogue shows %d since %s; of new granules %d superseded, %d refused",
        track.id,
        len(new),
        f" ({', '.join(map(str, new))})" if 0 < len(new) <= 10 else "",
        detected.acquisitions,
        acquired_from.date(),
        detected.superseded,
        detected.refused,
    )
    return detected


def _end(site: Site, as_of: datetime) -> datetime:
    if site.end is None:
        return as_of
    return min(as_of, site_day_start(site.end) + timedelta(days=1))


def _merge(
    track: Track, answer: CatalogueAnswer, updated: Sequence[Granule], ledger: Ledger
) -> tuple[Merged, list[Verdict]]:
    """Put what was just seen together with what was ever seen of the same dates: absence is not deletion.

    Returns
    -------
    The acquisitions, and what became of granules that nobody had seen before.
    """
    seen = {g.name: g for g in [*updated, *answer.granules]}
    dates = {g.date for g in seen.values()}
    earlier = {g.name: g for g in ledger.acquisitions.granules(track, dates)}
    merged = merge_granules(
        track,
        (earlier | seen).values(),
        answer.perpendicular_baseline_m,
        ledger.acquisitions.ordered(track.id),
    )
    news = [verdict for verdict in merged.verdicts if verdict.granule.name not in earlier]
    for verdict in news:
        if verdict.state != "chosen":
            log.info("%s %s: %s", verdict.granule.name, verdict.state, verdict.reason)
    new_dates = {verdict.granule.date for verdict in news}
    for acquisition in merged.acquisitions:
        if acquisition.perpendicular_baseline_m is None and acquisition.date in new_dates:
            log.warning(
                "%s %s: the catalogue has no state vectors, baseline unknown", track.id, acquisition.date
            )
    return merged, news


def _refuse_what_does_not_exist(track: Track, start: datetime, end: datetime, ledger: Ledger) -> None:
    """A mistyped burst would otherwise look like a track on which nothing ever happens."""
    if end - start < SURELY_SEEN:
        return
    known = ledger.acquisitions.known(track)
    if not known:
        what = f"burst {' or '.join(track.bursts)}" if track.bursts else f"frame {track.frame}"
        raise BadInputError(
            f"track {track.id}: the catalogue has never shown {what} in {track.polarisation} on relative orbit "
            f"{track.relative_orbit} since {start.date()}; check the track against ASF's burst map"
        )
    never = set.intersection(*(set(a.missing_bursts) for a in known))
    if never:
        raise BadInputError(
            f"track {track.id}: the catalogue has shown {len(known)} acquisitions since {start.date()}, but never "
            f"burst {' or '.join(sorted(never))}; check it against ASF's burst map"
        )
