"""A clock and a timeline over HTTP; the clock survives in a file."""

import argparse
import json
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=Path)
parser.add_argument("--port", type=int)
parser.add_argument("--smtp-port", type=int)
parser.add_argument("--scenario")
arguments = parser.parse_args()
arguments.folder.mkdir(parents=True, exist_ok=True)
clock = arguments.folder / "clock.json"
if not clock.exists():
    clock.write_text('{"now": "2024-01-01T00:00:00Z"}')


def timeline() -> list[dict[str, str]]:
    first = datetime(2024, 1, 1, 10, 37, tzinfo=UTC)
    days = [first + timedelta(days=12 * i) for i in range(3)]
    return [{"date": f"{d:%Y-%m-%d}", "visible": (d + timedelta(hours=20)).isoformat()} for d in days]


class Cloud(BaseHTTPRequestHandler):
    def answer(self, body: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self) -> None:
        self.answer(clock.read_text() if self.path == "/clock" else json.dumps(timeline()))

    def do_PUT(self) -> None:
        clock.write_text(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.answer(clock.read_text())


ThreadingHTTPServer(("127.0.0.1", arguments.port), Cloud).serve_forever()
