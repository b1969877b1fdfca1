"""Where "now" comes from."""

from __future__ import annotations

from datetime import UTC, datetime

import requests

from sagwatch.adapters.http import PatientAdapter, first_line
from sagwatch.errors import TryAgainError


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class CloudClock:
    """The clock of a cloud that drives time itself: ``GET /clock`` gives ``{"now": "..."}``."""

    def __init__(self, base_url: str) -> None:
        self._url = base_url.rstrip("/") + "/clock"

    def now(self) -> datetime:
        with requests.Session() as session:
            session.mount("http://", PatientAdapter(read_seconds=30))
            session.mount("https://", PatientAdapter(read_seconds=30))
            try:
                answer = session.get(self._url)
                answer.raise_for_status()
                moment = datetime.fromisoformat(answer.json()["now"])
            except (requests.RequestException, KeyError, TypeError, ValueError) as problem:
                raise TryAgainError(
                    f"the clock at {self._url} does not answer: {first_line(str(problem))}"
                ) from problem
        if moment.tzinfo is None:
            raise TryAgainError(f"the clock at {self._url} gives a time without a zone: {moment}")
        return moment.astimezone(UTC)
