"""JSON over HTTP on loopback, with the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any


class WebError(Exception):
    """The server said no (`status`) or nothing (status 0)."""

    def __init__(self, what: str, status: int = 0) -> None:
        super().__init__(what)
        self.status = status


# Loopback is reached directly, whatever proxy the machine uses for the world.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(
    method: str, url: str, body: Any = None, token: str | None = None, timeout_seconds: float = 20
) -> Any:
    """Send JSON, return JSON."""
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with _opener.open(request, timeout=timeout_seconds) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:500]
        raise WebError(f"{method} {url} answered {error.code}: {said}", error.code) from None
    except (OSError, ValueError) as error:
        raise WebError(f"{method} {url}: {error}") from None


def get_json(url: str, token: str | None = None) -> Any:
    return call("GET", url, token=token)
