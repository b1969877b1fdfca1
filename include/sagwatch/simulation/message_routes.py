"""Slack's webhook, the messages that arrived, and the page that shows everything."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, PlainTextResponse

from . import job_view, page, sinks
from .cloud import Cloud, problem
from .world import timeline


def add_messages(app: FastAPI, cloud: Cloud) -> None:
    @app.post("/services/{path:path}")
    async def slack(path: str, request: Request) -> Response:
        """A Slack incoming webhook."""
        if cloud.faults.slack_down:
            return PlainTextResponse("service_unavailable", 503)
        body = await request.body()
        header_id = request.headers.get("X-Sagwatch-Message-ID")
        status, words = await run_in_threadpool(sinks.take_slack_post, cloud.state, path, body, header_id)
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
            return problem(404, f"message {seq} has no attachment {number}")
        headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
        return Response(parts[number].content, media_type="application/octet-stream", headers=headers)

    @app.get("/", response_class=HTMLResponse)
    def front_page() -> Response:
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
