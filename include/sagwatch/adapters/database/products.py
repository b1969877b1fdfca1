"""What the ledger knows about products, and about the interferograms made of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from sagwatch.adapters.database import models
from sagwatch.domain.orbits import Orbits
from sagwatch.domain.order import JobState

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


@dataclass(frozen=True, slots=True)
class FetchedProduct:
    """A zip that was downloaded."""

    sha256: str
    job_name: str
    pair_id: str
    file_name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class MadeInterferogram:
    """A product on the track's grid; ``path`` is relative to the data folder."""

    id: str
    config_sha256: str
    path: str
    file_sha256: str
    mean_coherence: float
    valid_fraction: float
    perpendicular_baseline_m: float | None
    orbits: Orbits
    processed_at: datetime | None
    unwrapping: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class FetchRecord:
    """How the fetching of a job's product ended, as the ledger has it."""

    state: str  # accepted, quarantined
    reason: str | None
    interferogram_id: str | None
    interferogram_state: str | None


class Products:
    """Reached as `ledger.products`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def fetched(self, job_name: str) -> FetchRecord | None:
        """How the fetching of a job ended; None if it has not."""
        row = (
            select(models.Product, models.Interferogram)
            .outerjoin(
                models.Interferogram,
                (models.Interferogram.product_sha256 == models.Product.sha256)
                & (models.Interferogram.pair_id == models.Product.pair_id),
            )
            .where(models.Product.job_name == job_name)
            # Of a treated interferogram and its original, the one in the stack.
            .order_by(models.Product.fetched_at.desc(), models.Interferogram.state)
            .limit(1)
        )
        with self._ledger.begin() as session:
            found = session.execute(row).first()
        if found is None:
            return None
        product, made = found
        return FetchRecord(
            product.state,
            product.reason or (made.reason if made else None),
            made.id if made else None,
            made.state if made else None,
        )

    def accept(
        self, product: FetchedProduct, made: MadeInterferogram, as_of: datetime
    ) -> tuple[str, str | None]:
        """Record a good product and its interferogram, and close the job; return the latter's state and reason.

        A pair that has an interferogram keeps it, and a second one is recorded as withdrawn; unless the first was made
        with restituted orbits and the second with precise ones, which then takes its place.
        """
        with self._ledger.begin() as session:
            # One pair at a time: two products of a pair must not both become its interferogram.
            session.execute(select(models.Pair.id).where(models.Pair.id == product.pair_id).with_for_update())
            state, reason = _make_room(session, product.pair_id, made)
            _insert_product(session, product, "accepted", None, None, as_of)
            session.execute(
                insert(models.Interferogram)
                .values(
                    id=made.id,
                    pair_id=product.pair_id,
                    product_sha256=product.sha256,
                    config_sha256=made.config_sha256,
                    path=made.path,
                    file_sha256=made.file_sha256,
                    mean_coherence=made.mean_coherence,
                    valid_fraction=made.valid_fraction,
                    perpendicular_baseline_m=made.perpendicular_baseline_m,
                    orbits=made.orbits.value,
                    processed_at=made.processed_at,
                    state=state,
                    reason=reason,
                    made_at=as_of,
                    unwrapping=made.unwrapping,
                )
                .on_conflict_do_nothing(index_elements=["id"])
            )
            _close_job(session, product.job_name, None, as_of)
        return state, reason

    def quarantine(self, product: FetchedProduct, reason: str, kept_at: str, as_of: datetime) -> None:
        """Record a bad product, and close the job so that the pair may get another attempt."""
        with self._ledger.begin() as session:
            _insert_product(session, product, "quarantined", reason, kept_at, as_of)
            _close_job(session, product.job_name, f"product in quarantine: {reason}", as_of)


def _make_room(session: Session, pair_id: str, made: MadeInterferogram) -> tuple[str, str | None]:
    """What becomes of a new interferogram beside another one of its pair; state and reason."""
    other = session.scalar(
        select(models.Interferogram).where(
            models.Interferogram.pair_id == pair_id,
            models.Interferogram.state != "withdrawn",
            models.Interferogram.id != made.id,
        )
    )
    if other is None:
        return "accepted", None
    if other.original_id == made.id:
        return "withdrawn", f"{other.id} stands for it"
    if other.orbits != Orbits.RESTITUTED.value or made.orbits is not Orbits.PRECISE:
        return "withdrawn", f"the pair has {other.id} already"
    other.state, other.excluded_by = "withdrawn", None
    other.reason = f"replaced by {made.id}, which was made with precise orbits"
    # A pair has one accepted interferogram at a time, so this must be known before the new one comes.
    session.flush()
    return "accepted", None


def _insert_product(
    session: Session,
    product: FetchedProduct,
    state: str,
    reason: str | None,
    kept_at: str | None,
    as_of: datetime,
) -> None:
    session.execute(
        insert(models.Product)
        .values(
            sha256=product.sha256,
            job_name=product.job_name,
            pair_id=product.pair_id,
            file_name=product.file_name,
            bytes=product.bytes,
            fetched_at=as_of,
            state=state,
            reason=reason,
            kept_at=kept_at,
        )
        .on_conflict_do_nothing(index_elements=["sha256", "job_name"])
    )


def _close_job(session: Session, name: str, message: str | None, as_of: datetime) -> None:
    session.execute(
        update(models.Job)
        .where(models.Job.name == name)
        .values(state=JobState.FETCHED.value, message=message, finished_at=as_of)
    )
