"""Run the simulated cloud: in the foreground for ``__main__``, or as a child process for tests and benchmarks.

Usage in a test::

    from sagwatch.simulation.running import start

    with start(tmp_path, job_seconds=0) as cloud:
        cloud.advance_to("2024-03-01T00:00:00Z")
        HyP3(api_url=cloud.url, token="any").my_info()
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .world import World

log = logging.getLogger(__name__)
READY = "simulated cloud is ready: "
START_SECONDS = 60


def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT; prints one line of JSON behind READY when everything listens."""
    import uvicorn

    from .cloud import Cloud
    from .server import create_app
    from .sinks import MailSink

    cloud = Cloud(make_world(options), options.folder)
    for name, reason in cloud.world.left_out.items():
        log.warning("%s is left out: %s", name, reason)
    listener = socket.create_server((options.host, options.port))
    url = f"http://{options.host}:{listener.getsockname()[1]}"

    class AnnouncingServer(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            mail = await MailSink(cloud.state, lambda: cloud.faults).listen(options.host, options.smtp_port)
            smtp_port = mail.sockets[0].getsockname()[1]
            sys.stdout.write(
                READY + json.dumps({"url": url, "smtp_port": smtp_port, "pid": os.getpid()}) + "\n"
            )
            sys.stdout.flush()

    config = uvicorn.Config(create_app(cloud), log_level="warning", timeout_graceful_shutdown=5)
    cloud.maker.start()
    try:
        AnnouncingServer(config).run(sockets=[listener])
    finally:
        cloud.maker.stop()
        cloud.state.close()


def make_world(options: argparse.Namespace) -> World:
    """The world that the command line names."""
    from .scenario import read_scenario
    from .world import ScenarioWorld

    start = options.start
    if start is not None and start.tzinfo is None:
        raise ValueError("--start needs a time zone, for example 2024-01-01T00:00:00+00:00")
    if options.job_seconds is not None and not 0 <= options.job_seconds <= 3600:
        raise ValueError(f"--job-seconds {options.job_seconds} is not between 0 and 3600")
    if options.products is not None:
        from .replay import ReplayWorld

        world: World = ReplayWorld(options.products, start)
    else:
        scenario = read_scenario(options.scenario)
        world = ScenarioWorld(scenario.model_copy(update={"clock_start": start}) if start else scenario)
    if options.job_seconds is not None:
        world.job_seconds = options.job_seconds
    return world


@dataclass
class RunningCloud:
    """A simulated cloud in a child process."""

    process: subprocess.Popen[str]
    url: str
    smtp_port: int
    folder: Path

    def get(self, path: str) -> Any:
        """JSON of one of the control endpoints."""
        return self._call("GET", path)

    def put(self, path: str, body: Any) -> Any:
        return self._call("PUT", path, body)

    def clock(self) -> datetime:
        return datetime.fromisoformat(self.get("/clock")["now"])

    def advance_to(self, moment: datetime | str) -> datetime:
        """Set the simulated time; it never goes back."""
        text = moment if isinstance(moment, str) else moment.astimezone(UTC).isoformat()
        return datetime.fromisoformat(self.put("/clock", {"now": text})["now"])

    def timeline(self, path: int | str | None = None) -> list[dict[str, Any]]:
        """Acquisitions in the order in which they become visible."""
        found: list[dict[str, Any]] = self.get("/timeline" if path is None else f"/timeline?path={path}")
        return found

    def show(self, count: int, path: int | None = None) -> list[dict[str, Any]]:
        """Advance to just after the n-th acquisition is visible; returns the visible ones."""
        passes = self.timeline(path)[:count]
        self.advance_to(datetime.fromisoformat(passes[-1]["visible"]) + timedelta(minutes=1))
        return passes

    def faults(self, **switches: Any) -> None:
        """Replace the fault switches; none named = all off."""
        self.put("/faults", switches)

    def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/messages")
        return found

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 (our own loopback)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise ValueError(f"{method} {path}: {error.code} {error.read().decode()}") from error


@contextmanager
def start(
    folder: Path,
    *,
    scenario: str = "shaqu",
    products: Path | None = None,
    job_seconds: float | None = None,
    port: int = 0,
    smtp_port: int = 0,
) -> Iterator[RunningCloud]:
    """Run a simulated cloud in a child process and stop it at the end.

    Parameters
    ----------
    folder
        Where its state lives; starting again in the same folder goes on where it stopped.
    scenario
        A shipped scenario or a YAML file; ignored with ``products`` (a folder of zips to replay).
    job_seconds
        Wall time of a job instead of the scenario's.
    """
    command = [sys.executable, "-m", "sagwatch.simulation", "--folder", str(folder)]
    command += ["--port", str(port), "--smtp-port", str(smtp_port), "--scenario", scenario]
    command += ["--products", str(products)] if products else []
    command += ["--job-seconds", str(job_seconds)] if job_seconds is not None else []
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith(READY):
                process.wait(timeout=START_SECONDS)
                errors.seek(0)
                raise RuntimeError(f"the simulated cloud did not start: {errors.read().strip()}")
            address = json.loads(line.removeprefix(READY))
            running = RunningCloud(process, address["url"], address["smtp_port"], folder)
            yield running
        finally:
            if process.poll() is None:
                RunningCloud(process, "", 0, folder).stop()
            if process.stdout is not None:
                process.stdout.close()
