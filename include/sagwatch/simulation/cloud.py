"""What all endpoints of the simulated cloud share: its world, its memory, its workshop, its fault switches."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from . import hyp3, job_view
from .faults import CONTENT_FAULTS, Faults
from .maker import Maker
from .state import JobRow, State
from .world import World

BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Cloud:
    """Everything the endpoints share."""

    def __init__(self, world: World, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.world, self.folder = world, folder
        self.state = State(folder / "cloud.sqlite")
        if not self.state.belongs_to(world.name):
            raise ValueError(
                f"{folder} holds the state of another world ({self.state.setting('world')}), not of {world.name}; "
                "give another folder or remove this one"
            )
        self.state.start_clock(world.starts_at)
        stored = self.state.setting("faults")
        self._faults = Faults.model_validate_json(stored) if stored else Faults()
        self.maker = Maker(world, self.state, folder / "products")
        self.requests: Counter[str] = Counter()
        self._api_requests = 0
        self._lock = threading.Lock()

    @property
    def faults(self) -> Faults:
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.state.set_setting("faults", faults.model_dump_json())
        self._faults = faults

    def take_drop(self) -> bool:
        """Whether this order's answer gets lost; counts the switch down."""
        with self._lock:
            left = self._faults.drop_after_commit
            if left:
                self.faults = self._faults.model_copy(update={"drop_after_commit": left - 1})
            return left > 0

    def api_turn(self) -> bool:
        """Whether an API fault hits this request (every n-th)."""
        with self._lock:
            self._api_requests += 1
            return self._api_requests % self._faults.api_every == 0

    def drop_expired(self) -> None:
        """Delete what the expired jobs left on disk, as the real service does."""
        now = self.state.now()
        for folder in (self.folder / "products").glob("*"):
            job = self.state.job(folder.name)
            if job is not None and job.outcome is not None and job_view.is_expired(job, now):
                shutil.rmtree(folder, ignore_errors=True)

    def moment(self) -> job_view.Moment:
        return job_view.Moment(self.state.now(), time.time(), self.world.job_seconds)

    def served_zip(self, job: JobRow) -> Path:
        """The file a download gives: the right one, or a spoiled one by fault switch."""
        from .product_faults import spoiled  # the raster library is slow to load

        file = self.maker.product(job).file
        fault = self.product_fault(job)
        return spoiled(file, fault, self.folder / "spoiled" / job.job_id) if fault in CONTENT_FAULTS else file

    def product_fault(self, job: JobRow) -> str | None:
        chosen = self._faults.product_jobs
        return self._faults.product if not chosen or job.job_id in chosen else None

    def view(self, job: JobRow, base_url: str) -> dict[str, Any]:
        shown = job_view.view(job, self.moment(), base_url)
        if shown["status_code"] == "SUCCEEDED" and self.product_fault(job) in CONTENT_FAULTS:
            shown["files"][0]["size"] = self.served_zip(job).stat().st_size
        return shown


def problem(status: int, detail: str) -> JSONResponse:
    """A refusal in the form of HyP3's API."""
    body = {
        "status": status,
        "detail": detail,
        "title": hyp3.TITLES.get(status, "Error"),
        "type": "about:blank",
    }
    return JSONResponse(body, status, media_type="application/problem+json")


def cut_the_line() -> Response:
    """An answer that never arrives: the server closes the connection instead of sending it."""
    return Response(headers={"x-cut-the-line": "1"})


def utc(moment: datetime) -> str:
    """ISO 8601 with a Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
