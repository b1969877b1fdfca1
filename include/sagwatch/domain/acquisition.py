"""One pass of a satellite over a track on one day, and the granules in which the catalogue shows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from sagwatch.domain.site import Track

#: ESA cuts a pass into scenes that slip by a little; a slip of one whole scene is five frames.
FRAME_SLIP = 2


class AcquisitionState(StrEnum):
    """Every acquisition is in exactly one of these; ``NEW`` is what nobody has explained yet."""

    NEW = "new"
    USED = "used"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    PENDING = "pending"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Granule:
    """One entry of the catalogue: a burst or a scene, in one processing."""

    name: str
    acquired_at: datetime
    platform: str
    relative_orbit: int
    absolute_orbit: int | None
    direction: str
    polarisation: str
    burst: str | None
    frame: int | None
    footprint_wkt: str
    bytes: int | None
    processing_version: str | None
    published_at: datetime | None

    @property
    def date(self) -> date:
        return self.acquired_at.date()

    @property
    def newness(self) -> tuple[str, str, str]:
        """Sorts the processings of one acquisition, newest last; equal on every machine."""
        published = self.published_at.isoformat() if self.published_at else ""
        return self.processing_version or "", published, self.name


@dataclass(frozen=True, slots=True)
class CatalogueAnswer:
    """A complete answer of the catalogue about one track."""

    granules: tuple[Granule, ...]
    #: Metres per acquisition date, relative to the asked reference or, without one, to the earliest date with state
    #: vectors; None where they are missing.
    perpendicular_baseline_m: Mapping[date, float | None]


@dataclass(frozen=True, slots=True)
class Acquisition:
    """A track's acquisition, with the granules chosen to stand for it."""

    track_id: str
    date: date
    acquired_at: datetime
    platform: str
    granules: tuple[str, ...]
    #: Metres relative to the track's first acquisition with state vectors; None where the catalogue has none.
    perpendicular_baseline_m: float | None
    #: Bursts of the track that the catalogue has not shown yet; an acquisition cannot be ordered while any is missing.
    missing_bursts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one granule: chosen, superseded or refused."""

    granule: Granule
    state: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """Acquisitions made of granules; every granule has exactly one verdict."""

    acquisitions: tuple[Acquisition, ...]
    verdicts: tuple[Verdict, ...]


def merge_granules(
    track: Track,
    granules: Iterable[Granule],
    baselines_m: Mapping[date, float | None],
    ordered: Mapping[date, frozenset[str]],
) -> Merged:
    """Make one acquisition a date of everything the catalogue shows, whatever the order of the granules.

    The newest processing stands for an acquisition, except where one was ordered already: paid interferograms keep
    the granules they were made of.

    Parameters
    ----------
    baselines_m : perpendicular baseline in metres, by date
    ordered : granules of acquisitions that jobs were ordered with, by date
    """
    verdicts: list[Verdict] = []
    fitting: dict[date, list[Granule]] = defaultdict(list)
    for granule in {g.name: g for g in granules}.values():
        reason = refusal(track, granule)
        if reason:
            verdicts.append(Verdict(granule, "refused", reason))
        else:
            fitting[granule.date].append(granule)
    acquisitions = []
    for day in sorted(fitting):
        one_pass, others = _one_pass(fitting[day])
        verdicts += others
        chosen, older = _newest_of_each_part(one_pass, ordered.get(day, frozenset()))
        verdicts += [Verdict(g, "chosen") for g in chosen] + older
        acquisitions.append(_acquisition(track, day, chosen, baselines_m.get(day)))
    return Merged(tuple(acquisitions), tuple(sorted(verdicts, key=lambda v: v.granule.name)))


def refusal(track: Track, granule: Granule) -> str | None:
    """Why a granule does not belong to a track, or None."""
    if track.polarisation not in granule.polarisation.split("+"):
        return f"polarisation {granule.polarisation}, the track uses {track.polarisation}"
    if granule.relative_orbit != track.relative_orbit:
        return f"relative orbit {granule.relative_orbit}, the track is {track.relative_orbit}"
    if granule.direction.lower() != track.direction:
        return f"{granule.direction.lower()} pass, the track is {track.direction}"
    if track.bursts and granule.burst not in track.bursts:
        return f"burst {granule.burst}, the track has {', '.join(track.bursts)}"
    if track.frame is not None and (granule.frame is None or abs(granule.frame - track.frame) > FRAME_SLIP):
        return f"frame {granule.frame}, the track is {track.frame}"
    return None


def _one_pass(granules: list[Granule]) -> tuple[list[Granule], list[Verdict]]:
    """A day has one acquisition: the earliest pass. Two satellites on one track and day have never been routine."""
    first = min(granules, key=lambda g: (g.acquired_at, g.platform, g.name))
    kept, others = [], []
    for granule in granules:
        if granule.platform == first.platform:
            kept.append(granule)
        else:
            reason = f"{granule.platform} passed on the same day as {first.platform}, which was earlier"
            others.append(Verdict(granule, "refused", reason))
    return kept, others


def _newest_of_each_part(
    granules: list[Granule], ordered: frozenset[str]
) -> tuple[list[Granule], list[Verdict]]:
    parts: dict[str, list[Granule]] = defaultdict(list)
    for granule in granules:
        parts[granule.burst or "scene"].append(granule)
    chosen, older = [], []
    for part in sorted(parts):
        best = max(parts[part], key=lambda g: (g.name in ordered, g.newness))
        chosen.append(best)
        why = "it was ordered already" if best.name in ordered else "it is the newest processing"
        older += [
            Verdict(g, "superseded", f"{best.name} stands for this acquisition: {why}")
            for g in parts[part]
            if g is not best
        ]
    return chosen, older


def _acquisition(track: Track, day: date, chosen: list[Granule], baseline_m: float | None) -> Acquisition:
    seen = {granule.burst for granule in chosen}
    return Acquisition(
        track_id=track.id,
        date=day,
        acquired_at=min(granule.acquired_at for granule in chosen),
        platform=chosen[0].platform,
        granules=tuple(granule.name for granule in chosen),
        perpendicular_baseline_m=baseline_m,
        missing_bursts=tuple(burst for burst in track.bursts if burst not in seen),
    )
