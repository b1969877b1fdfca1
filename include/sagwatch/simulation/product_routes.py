"""Downloads: a job's zip, its single files, or its log. No login, as in production."""

from __future__ import annotations

import io
import logging
import zipfile

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from . import job_view
from .cloud import Cloud
from .state import JobRow
from .world import JobFailedError

log = logging.getLogger(__name__)
LOGIN_PAGE = (
    "<!DOCTYPE html><html><head><title>Earthdata Login</title></head><body>Please log in</body></html>"
)


def add_products(app: FastAPI, cloud: Cloud) -> None:
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
