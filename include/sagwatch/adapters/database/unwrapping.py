"""What the ledger knows about whole cycles: closures, decisions, and interferograms that stand for others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from sagwatch.adapters.database.models import Interferogram, Pair
from sagwatch.errors import FencedError

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Treated:
    """A file that takes the place of an interferogram; ``path`` is relative to the data folder."""

    id: str
    config_sha256: str
    path: str
    file_sha256: str


class Unwrapping:
    """Reached as `ledger.unwrapping`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def facts(self, track_id: str) -> dict[str, tuple[str | None, dict[str, Any]]]:
        """Per accepted interferogram its original, if it is a treated one, and what is noted about it."""
        statement = (
            select(Interferogram.id, Interferogram.original_id, Interferogram.unwrapping)
            .join(Pair, Pair.id == Interferogram.pair_id)
            .where(Pair.track_id == track_id, Interferogram.state == "accepted")
        )
        with self._ledger.begin() as session:
            return {name: (original, noted or {}) for name, original, noted in session.execute(statement)}

    def note(self, notes: Mapping[str, Mapping[str, Any]]) -> None:
        """Add to what is noted about interferograms; a key that is there already is replaced."""
        with self._ledger.begin() as session:
            for name, more in sorted(notes.items()):
                row = session.get(Interferogram, name, with_for_update=True)
                if row is not None:
                    row.unwrapping = {**(row.unwrapping or {}), **more}

    def replace(
        self, old_id: str, new: Treated | str, reason: str, noted: Mapping[str, Any], as_of: datetime
    ) -> None:
        """Let another interferogram of the same pair stand in the stack; the old one is withdrawn and kept.

        Parameters
        ----------
        new
            A treated one, or the id of the original that comes back.
        reason
            Why the old one is withdrawn.

        Raises
        ------
        FencedError
            The old one is not accepted any more: another process has moved on.
        """
        with self._ledger.begin() as session:
            old = session.get(Interferogram, old_id)
            if old is None or not _still_accepted(session, old):
                raise FencedError(
                    f"interferogram {old_id} is not in the stack any more; another process moved on"
                )
            # The coherence rule's word about the pair goes with whichever of its interferograms stands.
            standing, old.state, old.reason, old.excluded_by = old.reason, "withdrawn", reason, None
            session.flush()  # a pair has one accepted interferogram at any moment
            name = new if isinstance(new, str) else new.id
            row = session.get(Interferogram, name)
            if row is None:
                if isinstance(new, str):
                    raise FencedError(f"the ledger has no interferogram {new}")
                row = _copy(old, new, as_of)
                session.add(row)
            row.state, row.reason, row.excluded_by = "accepted", standing, None
            row.unwrapping = {**(old.unwrapping or {}), **(row.unwrapping or {}), **noted}


def _still_accepted(session: Session, old: Interferogram) -> bool:
    """Locks the pair, as everybody does who changes which of its interferograms is accepted."""
    session.execute(select(Pair.id).where(Pair.id == old.pair_id).with_for_update())
    session.refresh(old)
    return old.state == "accepted"


def _copy(old: Interferogram, new: Treated, as_of: datetime) -> Interferogram:
    """All that is known of the old one holds for the new one, except what makes it another file."""
    columns = {column.key: getattr(old, column.key) for column in Interferogram.__mapper__.column_attrs}
    own = {
        "id": new.id,
        "config_sha256": new.config_sha256,
        "path": new.path,
        "file_sha256": new.file_sha256,
        "original_id": old.original_id or old.id,
        "made_at": as_of,
        "unwrapping": None,
    }
    return Interferogram(**(columns | own))
