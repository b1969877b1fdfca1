"""The page on which people watch the simulated cloud: clock, credits, jobs, mails, Slack posts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from .faults import Faults
from .job_view import is_expired
from .state import JobRow
from .world import Pass, World

MOST_JOBS = 400
SHOWN_JOBS = 40
SECURITY_HEADERS = {
    # Messages come from outside: nothing of them may run, load or send anything.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@lru_cache(maxsize=1)
def _environment() -> Environment:
    folder = Path(__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(folder), autoescape=True, trim_blocks=True, lstrip_blocks=True)


def job_line(job: JobRow, status: str, now: datetime) -> dict[str, Any]:
    """One row of the table of jobs."""
    granules = job.parameters.get("granules") or [
        *job.parameters["reference"][:1],
        *job.parameters["secondary"][:1],
    ]
    return {
        "id": job.job_id,
        "name": job.name or "",
        "type": job.job_type.removeprefix("INSAR_"),
        "looks": job.parameters["looks"],
        "pair": " → ".join(_day(granule) for granule in granules),
        "requested": job.requested,
        "status": "EXPIRED" if status == "SUCCEEDED" and is_expired(job, now) else status,
        "product": job.product if status == "SUCCEEDED" else None,
        "log": job.log,
        "cost": f"{job.credit_cost:g}",
    }


def _day(granule: str) -> str:
    stamp = granule.split("_")[3 if granule.endswith("-BURST") else 5]
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}"


def render(
    *,
    world: World,
    now: datetime,
    credits_left: float,
    jobs: list[dict[str, Any]],
    passes: Sequence[Pass],
    messages: list[dict[str, Any]],
    faults: Faults,
) -> str:
    """The whole page."""
    visible = [one for one in passes if one.visible <= now]
    coming = [one for one in passes if one.visible > now]
    return (
        _environment()
        .get_template("page.html")
        .render(
            world=world,
            now=now,
            credits_left=f"{credits_left:g}",
            jobs=jobs[:SHOWN_JOBS],
            job_count=len(jobs),
            job_more=len(jobs) == MOST_JOBS,
            counts=Counter(job["status"] for job in jobs),
            visible=len(visible),
            total=len(passes),
            latest=visible[-1].acquired.date() if visible else None,
            coming=coming[0] if coming else None,
            messages=list(reversed(messages)),
            active=faults.model_dump(exclude_defaults=True),
        )
    )
