"""The Sagwatch page: a FastAPI application that knows nothing of Airflow; who may see what is handed in."""

# No `from __future__ import annotations`: FastAPI reads the routes' annotations, and some name local dependencies.
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.middleware.base import RequestResponseEndpoint

from sagwatch.errors import SagwatchError
from sagwatch.web.queries import WINDOWS_DAYS, Reader

log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_FILES = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "map.js": "text/javascript",
    "history.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

#: The page shares its origin with Airflow: whatever ran in it would run in Airflow. So nothing inline, nothing foreign.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Visitor(Protocol):
    """Somebody who is logged in."""

    def may_see(self, site: str) -> bool:
        """May this person see that site?"""
        ...


def create_app(reader: Reader, visitor: Callable[..., Visitor]) -> FastAPI:
    """The application.

    Parameters
    ----------
    reader : asks the ledger
    visitor : a FastAPI dependency that returns who asks, or raises 401 or 403; every route depends on it
    """
    app = FastAPI(
        title="Sagwatch", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(visitor)]
    )
    app.middleware("http")(_add_headers)
    app.exception_handler(SagwatchError)(_ledger_is_away)
    _add_pages(app)
    _add_api(app, reader, visitor)
    return app


async def _add_headers(request: Request, proceed: RequestResponseEndpoint) -> Response:
    response = await proceed(request)
    response.headers.update(HEADERS)
    return response


async def _ledger_is_away(request: Request, problem: Exception) -> JSONResponse:
    log.error("%s: %s", request.url.path, problem)
    return JSONResponse({"detail": "the ledger cannot be reached; Airflow's log says why"}, status_code=503)


def _add_pages(app: FastAPI) -> None:
    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(_STATIC / "page.html", media_type="text/html")

    @app.get("/{name}")
    def static_file(name: str) -> FileResponse:
        if name not in _FILES:
            raise HTTPException(404, "there is no such file")
        return FileResponse(_STATIC / name, media_type=_FILES[name])


def _add_api(app: FastAPI, reader: Reader, visitor: Callable[..., Visitor]) -> None:
    def visible_site(site: str, who: Annotated[Any, Depends(visitor)]) -> str:
        if not who.may_see(site):
            raise HTTPException(403, "your Airflow role may not see this site")
        return site

    VisibleSite = Annotated[str, Depends(visible_site)]  # noqa: N806  a type

    @app.get("/api/overview")
    def overview(who: Annotated[Any, Depends(visitor)]) -> dict[str, Any]:
        return {"sites": [site for site in reader.sites() if who.may_see(site["name"])]}

    @app.get("/api/sites/{site}/alerts")
    def alerts(site: VisibleSite) -> dict[str, Any]:
        return {"alerts": reader.alerts(site)}

    @app.get("/api/sites/{site}/tracks/{track}/velocities")
    def velocities(site: VisibleSite, track: str, window: int = 150) -> Response:
        if window not in WINDOWS_DAYS:
            raise HTTPException(422, f"window must be one of {', '.join(map(str, WINDOWS_DAYS))} days")
        layer = reader.velocities(site, track, window)
        if layer is None:
            raise HTTPException(404, f"site {site} has no track {track}")
        return Response(layer.to_bytes(), media_type="application/octet-stream")

    @app.get("/api/sites/{site}/tracks/{track}/zones")
    def zones(site: VisibleSite, track: str) -> dict[str, Any]:
        return {"zones": reader.zones(site, track)}

    @app.get("/api/sites/{site}/tracks/{track}/blind-spots")
    def blind_spots(site: VisibleSite, track: str) -> dict[str, Any]:
        return {"kinds": reader.blind_spots(site, track)}

    @app.get("/api/sites/{site}/tracks/{track}/history")
    def history(
        site: VisibleSite,
        track: str,
        row: Annotated[int, Query(ge=0, le=100_000)],
        column: Annotated[int, Query(ge=0, le=100_000)],
    ) -> dict[str, Any]:
        found = reader.history(site, track, row, column)
        if found is None:
            raise HTTPException(404, "no point is published there")
        return found
