"""The HyP3 API over HTTP: orders, listings, the account and the price list."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse

from . import hyp3, job_view
from .cloud import BAD_GATEWAY, Cloud, cut_the_line
from .hyp3 import ProblemError
from .state import CreditError, JobRow


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


def add_hyp3(app: FastAPI, cloud: Cloud) -> None:
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

    app.add_api_route("/jobs", guarded(lambda _, body: _post_jobs(cloud, body)), methods=["POST"])
    app.add_api_route("/jobs", guarded(lambda _, body: _patch_jobs(cloud, body)), methods=["PATCH"])
    app.add_api_route("/jobs", guarded(lambda request, _: _list_jobs(cloud, request)), methods=["GET"])
    app.add_api_route("/jobs/{job_id}", guarded(lambda request, _: _one_job(cloud, request)), methods=["GET"])
    app.add_api_route("/user", guarded(lambda _, __: _user(cloud)), methods=["GET"])

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
        stored = cloud.state.order(
            orders, cloud.world.credits_per_month, dry_run=dry_run, doom=cloud.faults.doom
        )
    except CreditError as error:
        raise ProblemError(400, str(error)) from error
    if not dry_run:
        for job in stored:
            if job.outcome is None:
                cloud.maker.order(job)
        if cloud.take_drop():
            return cut_the_line()
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
    def moment(key: str) -> datetime | None:
        text = query.get(key)
        return datetime.fromisoformat(text).astimezone(UTC) if text else None

    try:
        start, end = moment("start"), moment("end")
    except ValueError as error:
        raise ProblemError(400, hyp3.TITLES[400]) from error
    words = {key: query.get(key) for key in ("status_code", "name", "job_type", "user_id")}
    return job_view.Filter(start, end, **words)


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
