"""What the steps need from outside, as promises; the adapters keep them, tests hold both sides to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from sagwatch.domain.acquisition import Granule
from sagwatch.domain.order import CloudJob, Order
from sagwatch.domain.site import Track


class Clock(Protocol):
    """Where "now" comes from: the system, or the simulated cloud."""

    def now(self) -> datetime:
        """The present, aware, UTC."""
        ...


@dataclass(frozen=True, slots=True)
class CatalogueAnswer:
    """A complete answer of the catalogue about one track."""

    granules: tuple[Granule, ...]
    #: Metres per acquisition date, relative to the earliest date with state vectors; None where they are missing.
    perpendicular_baseline_m: Mapping[date, float | None]


class Catalogue(Protocol):
    def search(self, track: Track, acquired_from: datetime, acquired_until: datetime) -> CatalogueAnswer:
        """All granules of a track acquired in a span of time.

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
    def find(self, name: str) -> CloudJob | None:
        """The job of that exact name, if the account has one (asked twice: the listing lags)."""
        ...

    def submit(self, orders: Sequence[Order]) -> list[CloudJob]:
        """Order; all or none. NoCreditsError, RefusedError, StopAndAskError, TryAgainError (it may have worked)."""
        ...

    def validate(self, orders: Sequence[Order]) -> None:
        """Have orders checked without ordering them (HyP3's validate_only)."""
        ...

    def jobs(self, ids: Sequence[str]) -> list[CloudJob]:
        """The present state of jobs by HyP3 id."""
        ...

    def remaining_credits(self) -> float | None:
        """Credits left this month; None where the account has no limit."""
        ...

    def cost(self, job_type: str, looks: str, granule_pairs: int) -> float:
        """Credits that one order costs, from the service's own table."""
        ...

    def download(self, job: CloudJob, target: Path, limit_bytes: int) -> None:
        """Stream a job's product to ``target`` (a temporary name); checks the announced size."""
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
