"""The Climate Data Store over HTTP, as cdsapi 0.7 speaks it."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from . import cds
from .cloud import Cloud, utc
from .state import WeatherJobRow

JOBS = "/api/retrieve/v1/jobs"
PROCESS = f"/api/retrieve/v1/processes/{cds.DATASET}"


class _StoreError(Exception):
    """An answer that ends a request early."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail = status, title, detail


def add_cds(app: FastAPI, cloud: Cloud) -> None:
    app.add_exception_handler(_StoreError, _refusal)

    def check(request: Request) -> None:
        if cloud.faults.cds_unavailable:
            raise _StoreError(503, "Service Unavailable", "The service is temporarily unavailable")
        if cloud.world.scenario is None or cloud.world.scenario.weather is None:
            raise _StoreError(404, "dataset not found", f"{cloud.world.name} has no weather of its own")
        if not request.headers.get("PRIVATE-TOKEN"):
            raise _StoreError(
                401, "authentication required", "no PRIVATE-TOKEN header; set the key of your account"
            )

    @app.get("/api/catalogue/v1/messages")
    def messages() -> dict[str, Any]:
        """What the store wants to tell everybody."""
        return {"messages": []}

    @app.get("/api/retrieve/v1/processes/{dataset}")
    def process(request: Request, dataset: str) -> dict[str, Any]:
        """The description of a data set."""
        check(request)
        if dataset != cds.DATASET:
            raise _StoreError(
                404, "process not found", f"dataset {dataset} not found; this store has {cds.DATASET}"
            )
        links = [
            {"rel": "execute", "href": f"{_base(request)}{PROCESS}/execution", "type": "application/json"}
        ]
        return {"id": dataset, "title": dataset, "inputs": {}, "outputs": {}, "links": links}

    @app.post(PROCESS + "/execution")
    async def execute(request: Request) -> Response:
        """Take a request into the queue."""
        check(request)
        body = await request.json()
        inputs = body.get("inputs") if isinstance(body, dict) else None
        if not isinstance(inputs, dict):
            raise _StoreError(400, "invalid request", "the body must be an object with `inputs`")
        job = await run_in_threadpool(_accept, cloud, inputs)
        return JSONResponse(_view(cloud, job, _base(request)), 201)

    @app.get(JOBS + "/{job_id}")
    def job(request: Request, job_id: str) -> dict[str, Any]:
        """How a request stands."""
        check(request)
        return _view(cloud, _job(cloud, job_id), _base(request))

    @app.delete(JOBS + "/{job_id}")
    def dismiss(request: Request, job_id: str) -> dict[str, Any]:
        """Forget a request; clients clean up after themselves."""
        check(request)
        shown = _view(cloud, _job(cloud, job_id), _base(request))
        cloud.state.forget_weather_job(job_id)
        return shown | {"status": "dismissed"}

    @app.get(JOBS + "/{job_id}/results")
    def results(request: Request, job_id: str) -> dict[str, Any]:
        """Where the file of a finished request is."""
        check(request)
        found = _job(cloud, job_id)
        status = _status(cloud, found)
        if status == "failed":
            raise _StoreError(
                400, "The job has failed", "MARS has returned an error, please check your selection."
            )
        if status != "successful":
            raise _StoreError(
                404, "job results not ready", f"job {job_id} results not ready, status is {status}"
            )
        href = f"{_base(request)}/cds-files/{job_id}.grib"
        size = len(_file(cloud, found))
        return {"asset": {"value": {"type": "application/x-grib", "href": href, "file:size": size}}}

    @app.api_route("/cds-files/{job_id}.grib", methods=["GET", "HEAD"])
    def file(job_id: str) -> Response:
        """The file itself; no login, as in production."""
        found = _job(cloud, job_id)
        return Response(_file(cloud, found), media_type="application/x-grib")


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _accept(cloud: Cloud, inputs: dict[str, Any]) -> WeatherJobRow:
    if cloud.faults.cds_licence_refused:
        raise _StoreError(403, "required licences not accepted", cds.LICENCE_TEXT)
    scenario = cloud.world.scenario
    assert scenario is not None
    try:
        version = cds.experiment(scenario, cds.read_request(inputs), cloud.state.now())
    except cds.CdsRefusalError as error:
        raise _StoreError(error.status, error.title, str(error)) from error
    return cloud.state.add_weather_job(lambda number: cds.job_id(number, inputs), inputs, version)


def _job(cloud: Cloud, job_id: str) -> WeatherJobRow:
    found = cloud.state.weather_job(job_id)
    if found is None:
        raise _StoreError(404, "job not found", f"job {job_id} not found")
    return found


def _status(cloud: Cloud, job: WeatherJobRow) -> str:
    if time.time() - job.wall_requested < cloud.faults.cds_queue_seconds:
        return "accepted"
    return "failed" if cloud.faults.cds_fails else "successful"


def _view(cloud: Cloud, job: WeatherJobRow, base: str) -> dict[str, Any]:
    href = f"{base}{JOBS}/{job.job_id}"
    status, at = _status(cloud, job), utc(job.requested)
    links = [{"rel": "self", "href": href}, {"rel": "monitor", "href": href, "type": "application/json"}]
    if status in ("successful", "failed"):
        links.append({"rel": "results", "href": f"{href}/results"})
    return {
        "processID": cds.DATASET,
        "type": "process",
        "jobID": job.job_id,
        "status": status,
        "created": at,
        "updated": at,
        "links": links,
        "metadata": {},
    }


def _file(cloud: Cloud, job: WeatherJobRow) -> bytes:
    """What a request gives, or another area or hour, or a part as if it were the whole, by fault switch."""
    scenario = cloud.world.scenario
    assert scenario is not None
    request = cds.read_request(job.inputs)
    if cloud.faults.cds_file == "other_area":
        west, east = request.west + 1.0, request.east + 1.0
        request = replace(request, west=west, east=east)
    if cloud.faults.cds_file == "other_hour":
        request = replace(request, moment=request.moment - timedelta(hours=6))
    content = cds.grib_file(scenario, request, job.experiment)
    return content[: len(content) * 3 // 5] if cloud.faults.cds_file == "truncated" else content


async def _refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, _StoreError)
    body = {"type": error.title, "title": error.title, "status": error.status, "detail": error.detail}
    return JSONResponse(body, error.status)
