"""The catalogue of Sentinel-1 granules: NASA's CMR, asked through ``asf_search``."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import asf_search
import requests
from asf_search.baseline.calc import calculate_perpendicular_baselines
from asf_search.constants import INTERNAL
from asf_search.exceptions import ASFSearch4xxError, ASFSearch5xxError, ASFSearchError
from shapely.geometry import shape

from sagwatch.adapters.http import PatientAdapter, first_line
from sagwatch.domain.acquisition import FRAME_SLIP, CatalogueAnswer, Granule, refusal
from sagwatch.domain.site import Track
from sagwatch.errors import BadInputError, IncompleteAnswerError, StopAndAskError, TryAgainError

log = logging.getLogger(__name__)

#: Seconds that asf_search waits for one page; CMR itself gives up after 180.
PAGE_SECONDS = 120
#: A host that does not exist: only our adapter answers for it.
_REDIRECTED_HOST = "catalogue.sagwatch.invalid"
_CMR_TIME = "%Y-%m-%dT%H:%M:%SZ"


class AsfCatalogue:
    """Keeps the promise of `steps.ports.Catalogue`.

    Parameters
    ----------
    base_url : where the catalogue is, if not at NASA; plain http is fine
    """

    def __init__(self, base_url: str | None = None, page_seconds: int = PAGE_SECONDS) -> None:
        self._base_url = base_url
        # Both are read at every request. Error reports would send the area of interest to a third place.
        asf_search.REPORT_ERRORS = False
        INTERNAL.CMR_TIMEOUT = page_seconds

    def search(
        self,
        track: Track,
        acquired_from: datetime,
        acquired_until: datetime,
        baseline_reference: Sequence[str] = (),
    ) -> CatalogueAnswer:
        # CMR compares spans of time; a granule that merely touches the edge is cut off below.
        products = self._ask(track, start=_text(acquired_from), end=_text(acquired_until))
        granules = [_granule(p) for p in products]
        inside = {g.name for g in granules if acquired_from <= g.acquired_at <= acquired_until}
        reference = self._by_name(baseline_reference) if baseline_reference else []
        baselines = _baselines_m(track, [p for p in products if _name(p) in inside], reference)
        return CatalogueAnswer(tuple(g for g in granules if g.name in inside), baselines)

    def updated_since(self, track: Track, updated_from: datetime) -> tuple[Granule, ...]:
        """Granules that the catalogue published or changed since then, whenever they were acquired."""
        return tuple(_granule(p) for p in self._ask(track, processingDate=_text(updated_from)))

    def _ask(self, track: Track, **when: str) -> list[Any]:
        where: dict[str, Any] = {"relativeOrbit": track.relative_orbit}
        if track.bursts:
            where |= {"dataset": "SLC-BURST", "fullBurstID": list(track.bursts)}
        else:
            assert track.frame is not None
            frames = (track.frame - FRAME_SLIP, track.frame + FRAME_SLIP)
            where |= {"dataset": "SENTINEL-1", "processingLevel": "SLC", "beamMode": "IW", "frame": [frames]}
        return self._complete(track.id, **where, **when)

    def _by_name(self, names: Sequence[str]) -> list[Any]:
        found = {_name(p): p for p in self._complete("the baseline reference", granule_list=list(names))}
        return [found[name] for name in names if name in found]

    def _complete(self, about: str, **question: Any) -> list[Any]:
        """All products that answer a question, each once.

        A session belongs to one call: asf_search keeps its page cursor in the session's headers.
        """
        options = asf_search.ASFSearchOptions(session=self._session(), **question)
        if self._base_url is not None:
            options.host = _REDIRECTED_HOST
        try:
            results = asf_search.search(opts=options)
        except ASFSearch4xxError as problem:
            raise _refused(about, str(problem)) from problem
        except (ASFSearch5xxError, ASFSearchError) as problem:
            raise TryAgainError(f"the catalogue failed for {about}: {first_line(str(problem))}") from problem
        except (json.JSONDecodeError, requests.JSONDecodeError, KeyError, IndexError) as problem:
            raise TryAgainError(
                f"the catalogue's answer for {about} cannot be read ({type(problem).__name__}); "
                "often a proxy's web page instead of data"
            ) from problem
        except requests.RequestException as problem:
            raise TryAgainError(f"the catalogue cannot be reached: {first_line(str(problem))}") from problem
        if not results.searchComplete:
            raise IncompleteAnswerError(
                f"the catalogue sent only {len(results)} granules for {about}, fewer than it announced; "
                "nothing of the answer is used"
            )
        unique = {_name(product): product for product in results}
        if len(unique) != len(results):
            # A granule that comes twice has pushed another one off a page.
            raise IncompleteAnswerError(
                f"the catalogue sent {len(results)} granules for {about}, but {len(results) - len(unique)} of them "
                "twice; nothing of the answer is used"
            )
        return list(unique.values())

    def _session(self) -> asf_search.ASFSession:
        session = asf_search.ASFSession()
        if self._base_url is not None:
            session.mount(f"https://{_REDIRECTED_HOST}", PatientAdapter(self._base_url))
        return session


def _refused(about: str, text: str) -> Exception:
    if "HTTP 401" in text or "HTTP 403" in text:
        return StopAndAskError(f"the catalogue refuses us for {about}: {first_line(text)}")
    if "HTTP 429" in text:
        return TryAgainError(f"the catalogue is busy: {first_line(text)}")
    return BadInputError(f"the catalogue does not understand the question for {about}: {first_line(text)}")


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_CMR_TIME)


def _name(product: Any) -> str:
    return str(product.properties["sceneName"])


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _granule(product: Any) -> Granule:
    """One product of asf_search as our noun.

    A burst's time is its azimuth time: the first line of its image, which the catalogue gives as the beginning, comes a
    second later and may be of the next day.
    """
    properties = product.properties
    burst = properties.get("burst") or {}
    size = properties.get("bytes")
    return Granule(
        name=_name(product),
        acquired_at=_moment(burst.get("azimuthTime") or properties["startTime"]),
        platform=f"S1{str(properties['platform'])[-1].upper()}",
        relative_orbit=int(properties["pathNumber"]),
        absolute_orbit=properties.get("orbit"),
        direction=str(properties["flightDirection"]).lower(),
        polarisation=str(properties["polarization"]),
        burst=burst.get("fullBurstID"),
        frame=properties.get("frameNumber"),
        footprint_wkt=shape(product.geometry).wkt,
        bytes=int(size) if isinstance(size, int | str) and str(size).isdigit() else None,
        processing_version=properties.get("pgeVersion"),
        published_at=_published(product),
    )


def _published(product: Any) -> datetime | None:
    for entry in product.umm.get("ProviderDates", []):
        if entry.get("Type") == "Insert":
            return _moment(entry["Date"])
    stamp = (product.meta or {}).get("revision-date")
    return _moment(stamp) if stamp else None


def _baselines_m(track: Track, products: Sequence[Any], reference: Sequence[Any]) -> dict[date, float | None]:
    """Perpendicular baseline of each date, metres, from the catalogue's state vectors.

    One granule stands for a date: of the track's first burst, in its newest processing.
    """
    by_date: dict[date, Any] = {}
    for product in sorted(products, key=lambda p: _granule(p).newness):
        granule = _granule(product)
        of_first_burst = not track.bursts or granule.burst == track.bursts[0]
        if of_first_burst and refusal(track, granule) is None:
            by_date[granule.date] = product
    usable = {day: product for day, product in sorted(by_date.items()) if product.has_baseline()}
    datum = next((p for p in reference if p.has_baseline()), None) or next(iter(usable.values()), None)
    baselines: dict[date, float | None] = dict.fromkeys(by_date)
    if datum is None:
        return baselines
    stack = list(usable.values())
    if all(_name(p) != _name(datum) for p in stack):
        stack.append(datum)
    calculate_perpendicular_baselines(_name(datum), stack)
    for day, product in usable.items():
        value = product.properties["perpendicularBaseline"]
        baselines[day] = None if value is None else float(value)
    return baselines
