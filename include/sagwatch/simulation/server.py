"""The HTTP side of the simulated cloud: CMR, HyP3, products, Slack, and the controls for people and tests.

Endpoints of the real services keep their paths, so one address serves as CMR host, HyP3 API, download host and Slack.
Controls: ``/clock``, ``/timeline``, ``/faults``, ``/requests``, ``/messages``, ``/archive``, ``/truth`` and the page ``/``.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import catalogue, hyp3, job_view, page, sinks
from .faults import Faults
from .granule import to_umm
from .hyp3 import ProblemError
from .maker import Maker
from .product_faults import CONTENT_FAULTS, spoiled
from .state import ClockError, CreditError, JobRow, State
from .world import JobFailedError, World, timeline

log = logging.getLogger(__name__)
PROBLEM = "application/problem+json"
BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
LOGIN_PAGE = (
    "<!DOCTYPE html><html><head><title>Earthdata Login</title></head><body>Please log in</body></html>"
)
MOST_TRUTH_PIXELS = 4_000_000


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
        self.maker = Maker(world, self.state, folder / "products", lambda: self._faults)
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

    def moment(self) -> job_view.Moment:
        return job_view.Moment(self.state.now(), time.time(), self.world.job_seconds)

    def served_zip(self, job: JobRow) -> Path:
        """The file a download gives: the right one, or a spoiled one by fault switch."""
        file = self.maker.product(job).file
        fault = self.product_fault(job)
        return spoiled(file, fault) if fault in CONTENT_FAULTS else file

    def product_fault(self, job: JobRow) -> str | None:
        chosen = self._faults.product_jobs
        return self._faults.product if not chosen or job.job_id in chosen else None

    def view(self, job: JobRow, base_url: str) -> dict[str, Any]:
        shown = job_view.view(job, self.moment(), base_url)
        if shown["status_code"] == "SUCCEEDED" and self.product_fault(job) in CONTENT_FAULTS:
            shown["files"][0]["size"] = self.served_zip(job).stat().st_size
        return shown


def create_app(cloud: Cloud) -> ASGIApp:
    """The whole HTTP server."""
    app = FastAPI(title="Sagwatch simulated cloud", docs_url="/ui/", redoc_url=None)
    app.add_exception_handler(ProblemError, _problem_response)
    _add_catalogue(app, cloud)
    _add_hyp3(app, cloud)
    _add_products(app, cloud)
    _add_controls(app, cloud)
    _add_messages(app, cloud)
    return _Front(app, cloud)


class _Front:
    """Counts requests, stalls them if told to, and can cut a line as a broken network would."""

    def __init__(self, app: ASGIApp, cloud: Cloud) -> None:
        self._app, self._cloud = app, cloud

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kind = _kind(scope["path"])
        self._cloud.requests[f"{scope['method']} {kind}"] += 1
        if kind in ("/jobs", "/jobs/{id}", "/user", "/costs", "/search/granules.umm_json"):
            await asyncio.sleep(self._cloud.faults.stall_seconds)
        cut = False

        async def watching_send(message: Message) -> None:
            nonlocal cut
            if message["type"] == "http.response.start":
                cut = any(name == b"x-cut-the-line" for name, _ in message["headers"])
            if cut:
                transport = getattr(getattr(send, "__self__", None), "transport", None)
                if transport is not None:
                    transport.abort()
                return
            await send(message)

        await self._app(scope, receive, watching_send)


def _kind(path: str) -> str:
    parts = path.strip("/").split("/")
    if parts[0] == "jobs" and len(parts) > 1:
        return "/jobs/{id}"
    if parts[0] in ("products", "services"):
        return f"/{parts[0]}"
    return path


def _cut_the_line() -> Response:
    return Response(headers={"x-cut-the-line": "1"})


def _problem(status: int, detail: str) -> JSONResponse:
    body = {
        "status": status,
        "detail": detail,
        "title": hyp3.TITLES.get(status, "Error"),
        "type": "about:blank",
    }
    return JSONResponse(body, status, media_type=PROBLEM)


async def _problem_response(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return _problem(error.status, error.detail)


# --- CMR -------------------------------------------------------------------------------------------------------------


def _add_catalogue(app: FastAPI, cloud: Cloud) -> None:
    @app.post("/search/granules.umm_json")
    async def search_granules(request: Request) -> Response:
        """CMR's granule search, form parameters in, UMM-G JSON out."""
        if cloud.faults.cmr_bad_gateway:
            return HTMLResponse(BAD_GATEWAY, 502)
        if cloud.faults.cmr_unavailable:
            return JSONResponse({"errors": ["The service is temporarily unavailable"]}, 503)
        form = await request.form()
        parameters = [(key, str(value)) for key, value in form.multi_items()]
        after = request.headers.get("CMR-Search-After")
        now = cloud.state.now()
        try:
            found = await run_in_threadpool(catalogue.search, cloud.world.granules, parameters, now, after)
        except catalogue.BadQueryError as error:
            return JSONResponse({"errors": [str(error)]}, 400)
        granules = found.granules
        if cloud.faults.cmr_incomplete:
            granules = granules[: len(granules) * 2 // 3]
        headers = {"CMR-Hits": str(found.hits)}
        if found.search_after is not None:
            headers["CMR-Search-After"] = found.search_after
        body = {"hits": found.hits, "took": 12, "items": [to_umm(granule) for granule in granules]}
        return JSONResponse(body, headers=headers)


# --- HyP3 ------------------------------------------------------------------------------------------------------------


def _api_fault(cloud: Cloud) -> Response | None:
    faults = cloud.faults
    if (
        not (faults.api_unavailable or faults.api_bad_gateway or faults.api_too_many_requests)
        or not cloud.api_turn()
    ):
        return None
    if faults.api_bad_gateway:
        return HTMLResponse(BAD_GATEWAY, 502)
    if faults.api_too_many_requests:
        return JSONResponse({"message": "Too Many Requests"}, 429, headers={"Retry-After": "1"})
    # The real system switch answers plain JSON here, not problem+json.
    text = "HyP3 is currently unavailable. Please try again later."
    return JSONResponse(
        {"status": 503, "detail": text, "title": "Service Unavailable", "type": "about:blank"}, 503
    )


def _authorise(request: Request) -> None:
    header = request.headers.get("Authorization", "")
    token = header.removeprefix("Bearer ").strip() if header.startswith("Bearer ") else ""
    token = token or request.cookies.get("asf-urs", "")
    if not token:
        raise ProblemError(401, "No authorization token provided")
    if token == "expired":  # noqa: S105 (a word, not a secret)
        raise ProblemError(401, "Invalid authorization token provided: Signature has expired")
    if token == "unapproved":  # noqa: S105
        raise ProblemError(
            403, f"{job_view.USER} must request access before submitting jobs. Visit the HyP3 pages."
        )


def _add_hyp3(app: FastAPI, cloud: Cloud) -> None:
    def guarded(
        action: Callable[[Request, Any], Response],
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            broken = _api_fault(cloud)
            if broken is not None:
                return broken
            _authorise(request)
            body = await _json_body(request) if request.method in ("POST", "PATCH") else None
            return await run_in_threadpool(action, request, body)

        return endpoint

    app.add_api_route("/jobs", guarded(lambda r, b: _post_jobs(cloud, b)), methods=["POST"])
    app.add_api_route("/jobs", guarded(lambda r, b: _patch_jobs(cloud, b)), methods=["PATCH"])
    app.add_api_route("/jobs", guarded(lambda r, b: _list_jobs(cloud, r)), methods=["GET"])
    app.add_api_route("/jobs/{job_id}", guarded(lambda r, b: _one_job(cloud, r)), methods=["GET"])
    app.add_api_route("/user", guarded(lambda r, b: _user(cloud)), methods=["GET"])

    @app.get("/costs")
    def costs() -> Response:
        """The price list, open to everyone."""
        return _api_fault(cloud) or JSONResponse(hyp3.COSTS)


async def _json_body(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError as error:
        raise ProblemError(400, hyp3.TITLES[400]) from error


def _per_month(cloud: Cloud) -> int:
    return 0 if cloud.faults.no_credits else cloud.world.credits_per_month


def _post_jobs(cloud: Cloud, body: Any) -> Response:
    orders, dry_run = hyp3.read_orders(body)
    now = cloud.state.now()
    known = {g.name: g for g in cloud.world.granules if g.published <= now}
    hyp3.validate(orders, None if cloud.faults.cmr_unavailable else known)
    if cloud.faults.no_credits:
        total = sum(order.credit_cost for order in orders)
        raise ProblemError(400, f"These jobs would cost {total} credits, but you have only 0 remaining.")
    try:
        stored = cloud.state.order(orders, cloud.world.credits_per_month, dry_run=dry_run)
    except CreditError as error:
        raise ProblemError(400, str(error)) from error
    if not dry_run:
        for job in stored:
            cloud.maker.order(job)
        if cloud.take_drop():
            return _cut_the_line()
    return JSONResponse(body | {"jobs": [job_view.submitted(job) for job in stored]})


def _patch_jobs(cloud: Cloud, body: Any) -> Response:
    if (
        not isinstance(body, dict)
        or not set(body) <= {"job_ids", "name"}
        or not isinstance(body.get("job_ids"), list)
    ):
        raise ProblemError(400, hyp3.TITLES[400])
    ids, name = body["job_ids"], body.get("name")
    if name is not None and not (isinstance(name, str) and 1 <= len(name) <= 100):
        raise ProblemError(400, hyp3.TITLES[400])
    if len(ids) > hyp3.MOST_UPDATES:
        raise ProblemError(400, f"Cannot update more than {hyp3.MOST_UPDATES} jobs")
    if not ids:
        raise ProblemError(400, "Must provide at least one job ID")
    for job_id in ids:
        _known_job(cloud, str(job_id))
    cloud.state.rename_jobs(ids, name)
    return JSONResponse({"jobs": []})


def _known_job(cloud: Cloud, job_id: str) -> JobRow:
    job = cloud.state.job(job_id)
    if job is None:
        raise ProblemError(404, f"job_id does not exist: {job_id}")
    return job


def _one_job(cloud: Cloud, request: Request) -> Response:
    job = _known_job(cloud, request.path_params["job_id"])
    return JSONResponse(cloud.view(job, _base_url(request)))


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _list_jobs(cloud: Cloud, request: Request) -> Response:
    query = request.query_params
    wanted = _job_filter(query)
    token = query.get("start_token")
    if cloud.faults.empty_first_page and token is None:
        return JSONResponse({"jobs": [], "next": _next_url(request, 2**62)})
    scanned = cloud.state.jobs_before(job_view.read_token(token), job_view.PAGE_SIZE)
    moment, lag = cloud.moment(), cloud.faults.listing_lag_seconds
    shown = [
        cloud.view(job, _base_url(request))
        for job in scanned
        if moment.wall - job.wall_requested >= lag and wanted.accepts(job, moment)
    ]
    answer: dict[str, Any] = {"jobs": shown}
    if len(scanned) == job_view.PAGE_SIZE:
        # As with the real database, a page is read first and filtered afterwards: it may be empty and have a `next`.
        answer["next"] = _next_url(request, scanned[-1].seq)
    return JSONResponse(answer)


def _next_url(request: Request, seq: int) -> str:
    return str(request.url.include_query_params(start_token=job_view.token_after(seq)))


def _job_filter(query: Any) -> job_view.Filter:
    try:
        times = {
            key: datetime.fromisoformat(query[key]).astimezone(UTC)
            for key in ("start", "end")
            if query.get(key)
        }
    except ValueError as error:
        raise ProblemError(400, hyp3.TITLES[400]) from error
    words = {key: query.get(key) for key in ("status_code", "name", "job_type", "user_id")}
    return job_view.Filter(**times, **words)


def _user(cloud: Cloud) -> Response:
    left = cloud.state.credits(cloud.world.credits_per_month)
    names = sorted({job.name for job in cloud.state.jobs_before(None, 100_000) if job.name})
    shown = {
        "user_id": job_view.USER,
        "application_status": "APPROVED",
        "remaining_credits": 0 if cloud.faults.no_credits else job_view.whole(left),
        "credits_per_month": _per_month(cloud),
        "job_names": names,
    }
    return JSONResponse(shown)


# --- products --------------------------------------------------------------------------------------------------------


def _add_products(app: FastAPI, cloud: Cloud) -> None:
    @app.api_route("/products/{job_id}/{filename}", methods=["GET", "HEAD"])
    def product(job_id: str, filename: str) -> Response:
        """A job's zip, any single file of it, or its log. No login, as in production."""
        job = cloud.state.job(job_id)
        moment = cloud.moment()
        if job is None or job_view.status(job, moment) not in ("SUCCEEDED", "FAILED"):
            return _gone()
        if job_view.is_expired(job, moment.simulated):
            return _gone()
        if job.outcome == "FAILED":
            return PlainTextResponse(f"{job.log}\n") if filename == f"{job_id}.log" else _gone()
        return _download(cloud, job, filename)


def _gone() -> Response:
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code></Error>'
    return Response(text, 404, media_type="application/xml")


def _download(cloud: Cloud, job: JobRow, filename: str) -> Response:
    fault = cloud.product_fault(job)
    if fault == "login_page":
        return HTMLResponse(LOGIN_PAGE)
    try:
        content = cloud.served_zip(job).read_bytes()
    except JobFailedError as error:
        log.error("product of job %s cannot be served: %s", job.job_id, error)
        return _gone()
    if filename != f"{job.product}.zip":
        return _single_file(content, f"{job.product}/{filename}")
    if fault == "short":
        content = content[: len(content) // 2]
    if fault == "dropped":
        return _HalfResponse(content, media_type="application/zip")
    return Response(content, media_type="application/zip")


def _single_file(content: bytes, member: str) -> Response:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if member not in archive.namelist():
            return _gone()
        return Response(archive.read(member), media_type="application/octet-stream")


class _HalfResponse(Response):
    """Announces everything, sends half, and is gone."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        body = bytes(self.body)
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})


# --- controls --------------------------------------------------------------------------------------------------------


class _ClockSetting(BaseModel):
    model_config = ConfigDict(extra="forbid")
    now: datetime


def _add_controls(app: FastAPI, cloud: Cloud) -> None:
    @app.get("/clock")
    def clock() -> dict[str, str]:
        """The simulated time, UTC."""
        return {"now": _utc(cloud.state.now())}

    @app.put("/clock")
    def set_clock(setting: _ClockSetting) -> Response:
        """Advance the simulated time; it never goes back."""
        if setting.now.tzinfo is None:
            return _problem(400, "now needs a time zone, for example 2024-01-01T00:00:00Z")
        try:
            cloud.state.advance_to(setting.now)
        except ClockError as error:
            return _problem(409, str(error))
        return JSONResponse({"now": _utc(cloud.state.now())})

    @app.get("/timeline")
    def get_timeline(path: str | None = None) -> Response:
        """Acquisitions in the order in which they become visible; of the rehearsal's track unless `path` says other.

        `path` is a relative orbit number or `all`.
        """
        if path not in (None, "all") and not path.isdigit():
            return _problem(400, f"path must be a relative orbit number or all, not {path!r}")
        chosen = None if path == "all" else int(path) if path else cloud.world.rehearsal_path
        return JSONResponse(
            [
                {
                    "date": one.acquired.date().isoformat(),
                    "path": one.path,
                    "acquired": _utc(one.acquired),
                    "visible": _utc(one.visible),
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
            return _problem(400, f"faults: {'.'.join(map(str, first['loc']))}: {first['msg']}")
        return JSONResponse(cloud.faults.model_dump())

    @app.get("/requests")
    def requests() -> dict[str, int]:
        """How often each endpoint was asked since this process started."""
        return dict(sorted(cloud.requests.items()))

    @app.get("/archive")
    def archive() -> dict[str, Any]:
        """What is served, and what a replayed folder held that could not be."""
        return {
            "world": cloud.world.name,
            "granules": len(cloud.world.granules),
            "left_out": cloud.world.left_out,
        }

    _add_truth(app, cloud)


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _add_truth(app: FastAPI, cloud: Cloud) -> None:
    @app.get("/truth")
    def truth(
        date: date,
        west: float,
        north: float,
        east: float,
        south: float,
        columns: int,
        rows: int,
        since: date | None = None,
        form: str = "json",
    ) -> Response:
        """For tests and benchmarks only: true LOS displacement in mm at pixel centres, positive toward the satellite.

        The grid is given by its outer edges in metres of the scenario's UTM zone; counted from the first acquisition
        or from `since`. `form=npy` gives the array as a NumPy file (float32), which large grids want.
        """
        from sagwatch.domain.grid import Grid

        from .ground import displacement_m

        scenario = cloud.world.scenario
        if scenario is None:
            return _problem(404, "a replayed archive has no known truth")
        if columns < 1 or rows < 1 or columns * rows > MOST_TRUTH_PIXELS or east <= west or north <= south:
            return _problem(
                400, f"the grid must be between 1 and {MOST_TRUTH_PIXELS} pixels, west < east, south < north"
            )
        pixel_m = (east - west) / columns
        if abs((north - south) / rows - pixel_m) > 1e-6 * pixel_m:
            return _problem(400, "pixels must be square")
        try:
            grid = Grid(scenario.epsg, west, north, pixel_m, columns, rows)
        except ValueError as error:
            return _problem(400, str(error))
        los_mm = (displacement_m(scenario, since or scenario.first_day, date, grid) * 1000).astype(np.float32)
        if form == "npy":
            buffer = io.BytesIO()
            np.save(buffer, los_mm)
            return Response(buffer.getvalue(), media_type="application/octet-stream")
        return JSONResponse({"date": date.isoformat(), "los_mm": np.round(los_mm, 4).astype(float).tolist()})


# --- messages --------------------------------------------------------------------------------------------------------


def _add_messages(app: FastAPI, cloud: Cloud) -> None:
    @app.post("/services/{path:path}")
    async def slack(path: str, request: Request) -> Response:
        """A Slack incoming webhook."""
        if cloud.faults.slack_down:
            return PlainTextResponse("service_unavailable", 503)
        body = await request.body()
        status, words = await run_in_threadpool(sinks.take_slack_post, cloud.state, path, body)
        return PlainTextResponse(words, status)

    @app.get("/messages")
    def messages() -> list[dict[str, Any]]:
        """Mails and Slack posts, each once, oldest first; `copies` counts repeats with one Message-ID."""
        return sinks.show_messages(cloud.state.messages())

    @app.get("/messages/{seq}/attachments/{number}")
    def attachment(seq: int, number: int) -> Response:
        """One attachment, always as a download."""
        rows = [row for row in cloud.state.messages() if row.seq == seq and row.kind == "mail"]
        parts = sinks.mail_parts(rows[0].content)[3] if rows else []
        if not 0 <= number < len(parts):
            return _problem(404, f"message {seq} has no attachment {number}")
        headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
        return Response(parts[number].content, media_type="application/octet-stream", headers=headers)

    @app.get("/", response_class=HTMLResponse)
    def front_page(request: Request) -> Response:
        """What people look at."""
        moment = cloud.moment()
        jobs = cloud.state.jobs_before(None, page.MOST_JOBS)
        shown = page.render(
            world=cloud.world,
            now=cloud.state.now(),
            credits_left=cloud.state.credits(cloud.world.credits_per_month),
            jobs=[page.job_line(job, job_view.status(job, moment), moment.simulated) for job in jobs],
            passes=timeline(cloud.world.granules, cloud.world.rehearsal_path),
            messages=sinks.show_messages(cloud.state.messages()),
            faults=cloud.faults,
        )
        return HTMLResponse(shown, headers=page.SECURITY_HEADERS)
