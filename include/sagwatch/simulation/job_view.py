"""Jobs as the HyP3 API shows them: states by wall time since the order, times by the simulated clock."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .chance import generator
from .hyp3 import ProblemError, expires
from .state import JobRow

USER = "sagwatch"
PAGE_SIZE = 100
NEVER = -1e9


@dataclass(frozen=True)
class Moment:
    """The two times that decide what a job looks like."""

    simulated: datetime
    wall: float
    job_seconds: float


def status(job: JobRow, moment: Moment) -> str:
    """PENDING, RUNNING, SUCCEEDED or FAILED."""
    age = moment.wall - job.wall_requested
    if job.outcome is not None and age >= moment.job_seconds:
        return job.outcome
    return "PENDING" if age < 0.3 * moment.job_seconds else "RUNNING"


def is_expired(job: JobRow, now: datetime) -> bool:
    return now >= expires(job.requested)


def whole(number: float) -> float | int:
    """HyP3 writes whole Decimals as JSON integers."""
    return int(number) if number == int(number) else number


def submitted(job: JobRow) -> dict[str, Any]:
    """A job in the answer to its own order."""
    shown: dict[str, Any] = {
        "job_id": job.job_id,
        "user_id": USER,
        "status_code": "PENDING",
        "execution_started": False,
        "request_time": job.requested.isoformat(),
        "priority": job.priority,
        "job_type": job.job_type,
        "credit_cost": whole(job.credit_cost),
        "bucket": "simulated-content",
        "bucket_prefix": job.job_id,
        "job_parameters": job.parameters,
    }
    return shown if job.name is None else shown | {"name": job.name}


def view(job: JobRow, moment: Moment, base_url: str, size: int | None = None) -> dict[str, Any]:
    """A job as listed; ``size`` replaces the stored size of the zip."""
    code = status(job, moment)
    shown = submitted(job) | {"status_code": code, "execution_started": code != "PENDING"}
    folder = f"{base_url}/products/{job.job_id}"
    if code == "SUCCEEDED":
        filename = f"{job.product}.zip"
        browse = f"{folder}/{job.product}_unw_phase.png"
        seconds = generator("processing time", job.job_id).uniform(600, 1800)
        shown |= {
            "files": [
                {
                    "filename": filename,
                    "size": job.size if size is None else size,
                    "url": f"{folder}/{filename}",
                    "s3": {"bucket": "simulated-content", "key": f"{job.job_id}/{filename}"},
                }
            ],
            "browse_images": [browse],
            "thumbnail_images": [browse],
            "logs": [],
            "processing_times": [round(float(seconds), 1)],
            "expiration_time": expires(job.requested).isoformat(),
        }
    elif code == "FAILED":
        shown |= {
            "files": [],
            "browse_images": [],
            "thumbnail_images": [],
            "logs": [f"{folder}/{job.job_id}.log"],
            "processing_times": None,
            "expiration_time": expires(job.requested).isoformat(),
        }
    return shown


@dataclass(frozen=True)
class Filter:
    """The query of ``GET /jobs``."""

    start: datetime | None = None
    end: datetime | None = None
    status_code: str | None = None
    name: str | None = None
    job_type: str | None = None
    user_id: str | None = None

    def accepts(self, job: JobRow, moment: Moment) -> bool:
        return (
            (self.start is None or job.requested >= self.start)
            and (self.end is None or job.requested <= self.end)
            and (self.status_code is None or status(job, moment) == self.status_code)
            and (self.name is None or job.name == self.name)
            and (self.job_type is None or job.job_type == self.job_type)
            and self.user_id in (None, USER)
        )


def token_after(seq: int) -> str:
    """Where the next page starts, opaque to clients."""
    return base64.urlsafe_b64encode(json.dumps({"before": seq}).encode()).decode()


def read_token(token: str | None) -> int | None:
    if token is None:
        return None
    try:
        return int(json.loads(base64.urlsafe_b64decode(token))["before"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProblemError(400, "Invalid start_token value") from error
