"""Switches that make the simulated cloud misbehave in ways the real one has been seen to.

All are off by default. ``PUT /faults`` replaces the whole set: what is not named is off. The set survives a restart.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .chance import generator

ProductFault = Literal["dropped", "short", "login_page", "other_grid", "wrong_date", "outside", "wrong_cycle"]
CdsFileFault = Literal["truncated", "other_area", "other_hour"]
CONTENT_FAULTS = ("other_grid", "wrong_date", "outside", "wrong_cycle")


class Faults(BaseModel):
    """The switches of ``PUT /faults``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_unavailable: bool = Field(False, description="HyP3 answers 503 with its JSON text")
    api_bad_gateway: bool = Field(False, description="HyP3 answers 502 with an HTML page")
    api_too_many_requests: bool = Field(False, description="HyP3 answers 429")
    api_every: int = Field(1, ge=1, le=1000, description="The three above hit only every n-th request")
    stall_seconds: float = Field(
        0.0, ge=0, le=600, description="HyP3 and CMR wait so long before they answer"
    )
    drop_after_commit: int = Field(
        0, ge=0, description="The next n POST /jobs store the jobs, then cut the line"
    )
    listing_lag_seconds: float = Field(
        0.0, ge=0, le=600, description="GET /jobs hides jobs younger than this (wall)"
    )
    empty_first_page: bool = Field(False, description="GET /jobs answers first an empty page with `next`")
    no_credits: bool = Field(False, description="The account is empty")
    fail_orders: list[int] = Field(
        [], description="Orders that end FAILED, counted from 1 over the whole account"
    )
    fail_fraction: float = Field(
        0.0, ge=0, le=1, description="Share of orders that end FAILED, chosen by seed"
    )
    fail_seed: int = 0
    product: ProductFault | None = Field(
        None,
        description=(
            "What a download is like. dropped: the line is cut half way; short: half the file as if it were whole; "
            "login_page: HTML with status 200; other_grid: shifted by half a pixel; wrong_date: another pair's dates "
            "in the parameter file; outside: a member named ../../escaped.txt; wrong_cycle: a patch in the "
            "middle was unwrapped with a cycle too many"
        ),
    )
    product_jobs: list[str] = Field([], description="Job ids that `product` applies to; empty = all")
    cmr_incomplete: bool = Field(False, description="CMR announces all granules and leaves some out")
    cmr_bad_gateway: bool = Field(False, description="CMR answers 502 with an HTML page")
    cmr_unavailable: bool = Field(False, description="CMR answers 503 with its JSON text")
    cds_unavailable: bool = Field(False, description="The Climate Data Store answers 503")
    cds_licence_refused: bool = Field(False, description="The licence of ERA5 has not been accepted: 403")
    cds_fails: bool = Field(False, description="Requests for weather end `failed`")
    cds_queue_seconds: float = Field(
        0.0, ge=0, le=86_400, description="Requests for weather stay `accepted` so long (wall)"
    )
    cds_file: CdsFileFault | None = Field(
        None, description="What a weather file is like: cut short, of another area, or of another hour"
    )
    smtp_down: bool = Field(False, description="Every mail is refused with 451")
    slack_down: bool = Field(False, description="Every Slack post is refused with 503")

    def doom(self, number: int) -> str | None:
        """The log of the n-th order of the account if a switch says that it fails."""
        unlucky = generator(self.fail_seed, "fail", number).random() < self.fail_fraction
        if number in self.fail_orders or unlucky:
            return "RuntimeError: simulated failure of the processor (fault switch)"
        return None
