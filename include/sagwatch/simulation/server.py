"""The HTTP side of the simulated cloud: CMR, HyP3, products, CDS, Slack, and the controls for people and tests.

Endpoints of the real services keep their paths, so one address serves as CMR host, HyP3 API, download host, CDS
and Slack. Controls: ``/clock``, ``/timeline``, ``/faults``, ``/requests``, ``/messages``, ``/archive``, ``/truth`` and
the page ``/``.
"""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .cds_routes import add_cds
from .cloud import Cloud, problem
from .cmr_routes import add_catalogue
from .control_routes import add_controls
from .hyp3 import ProblemError
from .hyp3_routes import add_hyp3
from .message_routes import add_messages
from .product_routes import add_products
from .truth_routes import add_truth


def create_app(cloud: Cloud) -> ASGIApp:
    """The whole HTTP server."""
    app = FastAPI(title="Sagwatch simulated cloud", docs_url="/ui/", redoc_url=None)
    app.add_exception_handler(ProblemError, _problem_response)
    add_catalogue(app, cloud)
    add_hyp3(app, cloud)
    add_products(app, cloud)
    add_cds(app, cloud)
    add_controls(app, cloud)
    add_truth(app, cloud)
    add_messages(app, cloud)
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
    if path.startswith("/api/retrieve/v1/jobs/"):
        return "/api/retrieve/v1/jobs/{id}" + ("/results" if path.endswith("/results") else "")
    if parts[0] == "cds-files":
        return "/cds-files"
    return path


async def _problem_response(_request: Request, error: Exception) -> Response:
    """Every refusal of the HyP3 side in one form."""
    assert isinstance(error, ProblemError)
    return problem(error.status, error.detail)
