"""The controls of the simulated cloud, for people and tests: clock, timeline, faults, counters."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from .cloud import Cloud, problem, utc
from .faults import Faults
from .state import ClockError
from .world import timeline


class _ClockSetting(BaseModel):
    model_config = ConfigDict(extra="forbid")
    now: datetime


def add_controls(app: FastAPI, cloud: Cloud) -> None:
    @app.get("/clock")
    def clock() -> dict[str, str]:
        """The simulated time, UTC."""
        return {"now": utc(cloud.state.now())}

    @app.put("/clock")
    def set_clock(setting: _ClockSetting) -> Response:
        """Advance the simulated time; it never goes back."""
        if setting.now.tzinfo is None:
            return problem(400, "now needs a time zone, for example 2024-01-01T00:00:00Z")
        try:
            cloud.state.advance_to(setting.now)
        except ClockError as error:
            return problem(409, str(error))
        cloud.drop_expired()
        return JSONResponse({"now": utc(cloud.state.now())})

    @app.get("/timeline")
    def get_timeline(path: str | None = None) -> Response:
        """Acquisitions in the order in which they become visible; of the rehearsal's track unless `path` says other.

        `path` is a relative orbit number or `all`.
        """
        if path not in (None, "all") and not path.isdigit():
            return problem(400, f"path must be a relative orbit number or all, not {path!r}")
        chosen = None if path == "all" else int(path) if path else cloud.world.rehearsal_path
        return JSONResponse(
            [
                {
                    "date": one.acquired.date().isoformat(),
                    "path": one.path,
                    "acquired": utc(one.acquired),
                    "visible": utc(one.visible),
                }
                for one in timeline(cloud.world.granules, chosen)
            ]
        )

    @app.get("/faults")
    def faults() -> dict[str, Any]:
        """The fault switches as they stand."""
        return cloud.faults.model_dump()

    @app.put("/faults")
    async def set_faults(request: Request) -> Response:
        """Replace all fault switches; what is not named is off."""
        try:
            cloud.faults = Faults.model_validate_json(await request.body() or b"{}")
        except ValidationError as error:
            first = error.errors()[0]
            return problem(400, f"faults: {'.'.join(map(str, first['loc']))}: {first['msg']}")
        return JSONResponse(cloud.faults.model_dump())

    @app.get("/requests")
    def requests() -> dict[str, int]:
        """How often each endpoint was asked since this process started."""
        return dict(sorted(cloud.requests.items()))

    @app.get("/archive")
    def archive() -> dict[str, Any]:
        """What is served, and what a replayed folder held that could not be."""
        tracks: dict[tuple[int, int | None, str | None], set[date]] = {}
        for granule in cloud.world.granules:
            key = (granule.path, granule.frame, granule.burst_id)
            tracks.setdefault(key, set()).add(granule.acquired.date())
        return {
            "world": cloud.world.name,
            "granules": len(cloud.world.granules),
            "tracks": [
                {"path": path, "frame": frame, "burst": burst, "dates": len(days)}
                for (path, frame, burst), days in tracks.items()
            ],
            "left_out": cloud.world.left_out,
        }
