"""News about the pipeline (never about the ground), and what HyP3 says about credits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from sagwatch.adapters.database.models import CreditReading, OperationEvent

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger

Severity = Literal["info", "warning", "error"]


class Operations:
    """Reached as `ledger.operations`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def record(
        self,
        kind: str,
        text: str,
        *,
        dedupe_key: str,
        as_of: datetime,
        severity: Severity = "warning",
        site: str | None = None,
        track_id: str | None = None,
        details: Mapping[str, Any] | None = None,
        session: Session | None = None,
    ) -> bool:
        """Write an event down once, in the given transaction or in one of its own.

        Returns
        -------
        True where it is news, False where an event of this key is known already.
        """
        values = {
            "at": as_of,
            "site": site,
            "track_id": track_id,
            "kind": kind,
            "severity": severity,
            "text": text,
            "details": dict(details or {}),
            "dedupe_key": dedupe_key,
        }
        statement = (
            insert(OperationEvent)
            .values(values)
            .on_conflict_do_nothing(index_elements=["dedupe_key"])
            .returning(OperationEvent.id)
        )
        if session is not None:
            return session.scalar(statement) is not None
        with self._ledger.begin() as own:
            return own.scalar(statement) is not None

    def last_credits(self) -> CreditReading | None:
        """The newest reading, if there is any."""
        newest = (
            select(CreditReading).order_by(CreditReading.read_at.desc(), CreditReading.id.desc()).limit(1)
        )
        with self._ledger.begin() as session:
            return session.scalar(newest)

    def note_credits(self, remaining: float | None, as_of: datetime) -> None:
        """What HyP3 says is left this month; None where the account has no limit."""
        with self._ledger.begin() as session:
            session.add(CreditReading(read_at=as_of, remaining=remaining))
