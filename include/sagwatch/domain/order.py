"""What is asked of HyP3, and what HyP3 says about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sagwatch.domain.ids import opaque_id


class JobState(StrEnum):
    """The life of an order in the ledger."""

    INTENDED = "intended"  # written down and committed; HyP3 may or may not have heard of it
    OPEN = "open"  # HyP3 has it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"  # HyP3 deleted the product before it was fetched
    REFUSED = "refused"  # HyP3 says it can never work
    FETCHED = "fetched"  # its product was accepted or quarantined


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt to have one pair made.

    HyP3 jobs are public, so the name is an opaque hash of everything that is asked for: no site, no mine.
    """

    pair_id: str
    attempt: int
    job_type: str
    parameters: dict[str, Any] = field(hash=False)
    credits: float = 1

    @property
    def name(self) -> str:
        return f"sg-{opaque_id(self.pair_id, self.job_type, self.parameters)}-{self.attempt}"


@dataclass(frozen=True, slots=True)
class CloudJob:
    """A job as HyP3 describes it."""

    id: str
    name: str
    status: str  # PENDING, RUNNING, SUCCEEDED, FAILED
    requested_at: datetime
    expires_at: datetime | None = None
    file_name: str | None = None
    file_url: str | None = None
    file_bytes: int | None = None
    log_urls: tuple[str, ...] = ()
    credits: float | None = None

    @property
    def finished(self) -> bool:
        return self.status in {"SUCCEEDED", "FAILED"}
