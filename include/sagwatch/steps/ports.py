"""What the steps need from outside, as promises; the adapters keep them, tests hold both sides to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sagwatch.domain.acquisition import CatalogueAnswer, Granule
from sagwatch.domain.delay import DelayState
from sagwatch.domain.order import CloudJob, Order
from sagwatch.domain.site import Track
from sagwatch.domain.weather import WeatherRequest


class Clock(Protocol):
    """Where "now" comes from: the system, or the simulated cloud."""

    def now(self) -> datetime:
        """The present, aware, UTC."""
        ...


class Catalogue(Protocol):
    def search(
        self,
        track: Track,
        acquired_from: datetime,
        acquired_until: datetime,
        baseline_reference: Sequence[str] = (),
    ) -> CatalogueAnswer:
        """All granules of a track acquired in a span of time, in every polarisation.

        ``baseline_reference`` names the granules of one acquisition, in any of its processings: the first that the
        catalogue still shows is what baselines are measured from, so that all answers agree with each other.

        Raises
        ------
        IncompleteAnswerError
            Fewer granules came than were announced: nothing of the answer is used.
        TryAgainError, StopAndAskError, BadInputError
            By what has to be done about it; an unknown burst is a BadInputError.
        """
        ...

    def updated_since(self, track: Track, updated_from: datetime) -> tuple[Granule, ...]:
        """Granules that the catalogue published or changed since then, whenever they were acquired."""
        ...


class InsarCloud(Protocol):
    def find(self, names: Sequence[str], doubtful: bool = False) -> dict[str, CloudJob]:
        """Those jobs of the account that have exactly these names (the oldest, should one name have two).

        The listing lags: with ``doubtful``, a name that is not found is looked up again after a pause, because an order
        with that name may just have been taken.
        """
        ...

    def submit(self, orders: Sequence[Order]) -> list[CloudJob]:
        """Order; all or none. NoCreditsError, RefusedError, StopAndAskError, TryAgainError (it may have worked)."""
        ...

    def validate(self, orders: Sequence[Order]) -> None:
        """Have orders checked without ordering them (HyP3's validate_only)."""
        ...

    def jobs(self, ids: Sequence[str], since: datetime | None = None) -> list[CloudJob]:
        """The present state of jobs by HyP3 id; those that HyP3 does not know are left out.

        None of them was requested before ``since``: that makes the question cheaper.
        """
        ...

    def remaining_credits(self) -> float | None:
        """Credits left this month; None where the account has no limit."""
        ...

    def cost(self, job_type: str, looks: str, granule_pairs: int) -> float:
        """Credits that one order costs, from the service's own table."""
        ...

    def download(self, job: CloudJob, target: Path, limit_bytes: int) -> None:
        """Stream a job's product to ``target`` (a temporary name).

        Raises
        ------
        BadProductError
            What came is not what was announced: too large, too short, a web page.
        GoneError
            HyP3 has deleted it.
        TryAgainError, StopAndAskError
            By what has to be done about it.
        """
        ...


class WeatherStore(Protocol):
    def fetch(self, request: WeatherRequest, target: Path, request_id: str | None = None) -> DelayState:
        """Put one hour's weather, checked, under its name; say whether it is preliminary or final.

        ``request_id`` takes up an order that was left in the store's queue.

        Raises
        ------
        NotYetError, StillQueuedError, FailedRequestError, TryAgainError, StopAndAskError
            By what the store said; nothing has the file's name.
        BadWeatherError
            What came is not what was asked for; nothing has the file's name.
        """
        ...


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message as it leaves; the same ``message_id`` on every repeat."""

    recipient: str
    message_id: str
    in_reply_to: str | None
    subject: str
    body_text: str
    body_html: str | None
    possible_repeat: bool


class Messenger(Protocol):
    def send(self, message: OutgoingMessage) -> None:
        """Hand a message over. RefusedError: never again; TryAgainError: later; anything else is unclear."""
        ...
