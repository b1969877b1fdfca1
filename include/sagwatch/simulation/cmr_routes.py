"""CMR's granule search over HTTP."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse

from . import catalogue
from .cloud import BAD_GATEWAY, Cloud
from .granule import to_umm


def add_catalogue(app: FastAPI, cloud: Cloud) -> None:
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
