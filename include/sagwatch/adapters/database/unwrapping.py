"""What the ledger knows about unwrapping errors: each pair's interferogram as fetched, and the one used instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from sagwatch.adapters.database.models import Interferogram, Pair

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Original:
    """The interferogram of a pair as it was fetched; ``closure`` is what was noted about it last."""

    id: str
    reference: date
    secondary: date
    closure: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Treated:
    """Made from an original: some pixels masked or repaired; ``path`` is relative to the data folder."""

    id: str
    path: str
    file_sha256: str
    masked: int
    repaired: int


class Unwrapping:
    """Reached as `ledger.unwrapping`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def originals(self, track_id: str) -> list[Original]:
        """The originals of everything that the stack consists of now, in order of their dates."""
        original = aliased(Interferogram)
        its_original = func.coalesce(Interferogram.unwrapping["original"].astext, Interferogram.id)
        statement = (
            select(original.id, Pair.reference_date, Pair.secondary_date, original.unwrapping)
            .select_from(Interferogram)
            .join(original, original.id == its_original)
            .join(Pair, Pair.id == Interferogram.pair_id)
            .where(Pair.track_id == track_id, Interferogram.state == "accepted")
            .order_by(Pair.reference_date, Pair.secondary_date)
        )
        with self._ledger.begin() as session:
            return [
                Original(identity, earlier, later, (unwrapping or {}).get("closure", {}))
                for identity, earlier, later, unwrapping in session.execute(statement)
            ]

    def decide(
        self, original_id: str, closure: Mapping[str, Any], treated: Treated | None, as_of: datetime
    ) -> None:
        """Note what was found out about an original, and use it or what was made of it; twice changes nothing."""
        with self._ledger.begin() as session:
            original = session.get_one(Interferogram, original_id, with_for_update=True)
            session.get_one(Pair, original.pair_id, with_for_update=True)
            original.unwrapping = {**(original.unwrapping or {}), "closure": dict(closure)}
            accepted = session.scalar(
                select(Interferogram).where(
                    Interferogram.pair_id == original.pair_id, Interferogram.state == "accepted"
                )
            )
            wanted = original if treated is None else session.get(Interferogram, treated.id)
            if accepted is None or accepted is wanted:
                return
            accepted.state = "withdrawn"
            accepted.reason = f"unwrapping: {original_id if treated is None else treated.id} takes its place"
            session.flush()
            if wanted is None and treated is not None:
                wanted = _made(original, treated, as_of)
                session.add(wanted)
            elif wanted is not None:
                wanted.state, wanted.reason = "accepted", None


def _made(original: Interferogram, treated: Treated, as_of: datetime) -> Interferogram:
    same = ("pair_id", "product_sha256", "config_sha256", "mean_coherence", "valid_fraction")
    return Interferogram(
        id=treated.id,
        path=treated.path,
        file_sha256=treated.file_sha256,
        perpendicular_baseline_m=original.perpendicular_baseline_m,
        state="accepted",
        made_at=as_of,
        unwrapping={
            "original": original.id,
            "treated": {"masked": treated.masked, "repaired": treated.repaired},
        },
        **{name: getattr(original, name) for name in same},
    )
