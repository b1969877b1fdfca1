"""What is asked of HyP3, and what HyP3 says about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sagwatch.domain.ids import opaque_id
from sagwatch.domain.site import Track


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


def order_parameters(track: Track, reference: Sequence[str], secondary: Sequence[str]) -> dict[str, Any]:
    """HyP3's job parameters for one pair, with the options that a MintPy stack needs.

    The same dictionaries as the ``prepare_...`` functions of ``hyp3_sdk`` make (a contract test compares them).
    Water is masked before unwrapping: phase jumps across a river would otherwise look like ground that moved, and
    only then a burst product carries its water mask.
    """
    if track.processor == "INSAR_ISCE_MULTI_BURST":
        return {
            "reference": list(reference),
            "secondary": list(secondary),
            "apply_water_mask": True,
            "looks": track.looks,
        }
    if len(reference) != 1 or len(secondary) != 1:
        raise ValueError(f"{track.processor} takes one granule a date, got {reference} and {secondary}")
    granules = [*reference, *secondary]
    if track.processor == "INSAR_ISCE_BURST":
        return {"granules": granules, "apply_water_mask": True, "looks": track.looks}
    return {
        "granules": granules,
        "include_look_vectors": True,
        "include_los_displacement": False,
        "include_inc_map": False,
        "looks": track.looks,
        "include_dem": True,
        "include_wrapped_phase": False,
        "apply_water_mask": True,
        "include_displacement_maps": False,
        "phase_filter_parameter": 0.6,
    }


def ordered_granules(parameters: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reference and secondary granules of an order's parameters."""
    if "granules" in parameters:
        reference, secondary = parameters["granules"]
        return (reference,), (secondary,)
    return tuple(parameters["reference"]), tuple(parameters["secondary"])
