"""The truth about the simulated ground and air, for tests and benchmarks only: nothing of Sagwatch may ask for it."""

from __future__ import annotations

import datetime as dt
import io
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Query, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from sagwatch.domain.grid import Grid

from .cloud import Cloud, problem
from .scenario import Scenario

MOST_PIXELS = 4_000_000
DISTURBANCES = ("turbulent", "stratified", "ionospheric", "orbital_precise", "orbital_restituted")
STATIC = ("height", "vegetated", "dem_error")


class TruthQuery(BaseModel):
    """What is asked for, and where: the grid by its outer edges in metres of the scenario's UTM zone."""

    model_config = ConfigDict(extra="forbid")

    date: dt.date
    west: float
    north: float
    east: float
    south: float
    columns: int
    rows: int
    since: dt.date | None = None
    path: int | None = None
    component: str = "total"
    direction: Literal["los", "east", "north", "up"] = "los"
    form: Literal["json", "npy"] = "json"

    def grid(self, epsg: int) -> Grid:
        """The grid; raises ValueError."""
        wide, high = self.east > self.west, self.north > self.south
        if self.columns < 1 or self.rows < 1 or self.columns * self.rows > MOST_PIXELS or not (wide and high):
            raise ValueError(
                f"the grid must be between 1 and {MOST_PIXELS} pixels, west < east, south < north"
            )
        pixel_m = (self.east - self.west) / self.columns
        if abs((self.north - self.south) / self.rows - pixel_m) > 1e-6 * pixel_m:
            raise ValueError("pixels must be square")
        return Grid(epsg, self.west, self.north, pixel_m, self.columns, self.rows)


def add_truth(app: FastAPI, cloud: Cloud) -> None:
    @app.get("/truth")
    def truth(query: Annotated[TruthQuery, Query()]) -> Response:
        """For tests and benchmarks only: one component of the truth at pixel centres.

        `component`: `total` motion, one source of motion by name, a disturbance of a pass (turbulent, stratified,
        ionospheric, orbital_precise, orbital_restituted: what it feigns as motion, LOS only), or what never changes
        (height and dem_error in metres, vegetated as a share). Motion and disturbances are in mm, counted from the
        first acquisition of the scenario (motion), or from `since`; LOS is that of `path` (the rehearsal's unless
        named), positive toward the satellite. `form=npy` gives a NumPy file (float32), which large grids want.
        """
        scenario = cloud.world.scenario
        if scenario is None:
            return problem(404, "a replayed archive has no known truth")
        try:
            values = _component(scenario, query).astype(np.float32)
        except ValueError as error:
            return problem(400, str(error))
        if query.form == "npy":
            buffer = io.BytesIO()
            np.save(buffer, values)
            return Response(buffer.getvalue(), media_type="application/octet-stream")
        key = "values" if query.component in STATIC else f"{query.direction}_mm"
        return JSONResponse({"date": query.date.isoformat(), key: np.round(values, 4).astype(float).tolist()})

    @app.get("/truth/components")
    def components() -> Response:
        """What `component` may be."""
        if cloud.world.scenario is None:
            return problem(404, "a replayed archive has no known truth")
        return JSONResponse(_known(cloud.world.scenario))


def _known(scenario: Scenario) -> dict[str, list[str]]:
    from .motion import source_names

    sources = ["total", *source_names(scenario)]
    return {"motion": sources, "disturbances": list(DISTURBANCES), "static": list(STATIC)}


def _component(scenario: Scenario, query: TruthQuery) -> NDArray[Any]:
    grid = query.grid(scenario.epsg)
    path = scenario.rehearsal_path if query.path is None else query.path
    if path not in [track.path for track in scenario.tracks]:
        raise ValueError(f"path {path} is not a track of scenario {scenario.name}")
    known = _known(scenario)
    if query.component in known["motion"]:
        return 1000.0 * _motion_m(scenario, query, path, grid)
    if query.component in DISTURBANCES:
        if query.direction != "los":
            raise ValueError(
                f"{query.component} is known along the line of sight only, not {query.direction}"
            )
        return 1000.0 * _disturbance_m(scenario, query, path, grid)
    if query.component in STATIC:
        from . import ground

        fields = {
            "height": ground.height_m,
            "vegetated": ground.vegetated_share,
            "dem_error": ground.dem_error_m,
        }
        return fields[query.component](scenario, grid)
    raise ValueError(f"component {query.component!r} is none of {known}")


def _motion_m(scenario: Scenario, query: TruthQuery, path: int, grid: Grid) -> NDArray[Any]:
    from .motion import displacement_3d_m, displacement_m

    since = query.since or scenario.first_day
    only = None if query.component == "total" else query.component
    if query.direction == "los":
        return displacement_m(scenario, path, since, query.date, grid, only)
    moved = displacement_3d_m(scenario, since, query.date, grid, only)
    return {"east": moved.east, "north": moved.north, "up": moved.up}[query.direction]


def _disturbance_m(scenario: Scenario, query: TruthQuery, path: int, grid: Grid) -> NDArray[Any]:
    from .air import disturbance_m

    then = disturbance_m(scenario, query.component, path, query.date, grid)
    return then - disturbance_m(scenario, query.component, path, query.since, grid) if query.since else then
