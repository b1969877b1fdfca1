"""What every HTTP client of ours gets: time-outs always, and retries of questions that may be asked twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

#: Seconds to connect, and seconds without a single byte.
CONNECT_SECONDS = 15.0
READ_SECONDS = 120.0

_AGAIN = (429, 500, 502, 503, 504)


class PatientAdapter(HTTPAdapter):
    """Gives each request a time-out, and GET requests a few retries; a POST is never repeated here.

    ``base_url`` sends everything to another server instead: the catalogue's client insists on https and a host of its
    own, the simulated cloud is plain http on this machine.
    """

    def __init__(
        self, base_url: str | None = None, retries: int = 3, read_seconds: float = READ_SECONDS
    ) -> None:
        self._base_url = base_url.rstrip("/") if base_url else None
        self._read_seconds = read_seconds
        policy = Retry(
            total=retries,
            connect=retries,
            read=retries,
            status=retries,
            backoff_factor=0.5,
            backoff_jitter=0.5,
            backoff_max=20,
            status_forcelist=_AGAIN,
            allowed_methods=frozenset({"GET", "HEAD"}),
            respect_retry_after_header=True,
            raise_on_status=False,
        )
        super().__init__(max_retries=policy)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        if self._base_url is not None:
            request.url = self._base_url + request.path_url
            request.headers.pop("Host", None)
        if timeout is None:
            timeout = (CONNECT_SECONDS, self._read_seconds)
        return super().send(
            request, stream=stream, timeout=timeout, verify=verify, cert=cert, proxies=proxies
        )


def first_line(text: str, limit: int = 300) -> str:
    """The beginning of a server's answer, on one line, for an error text."""
    return " ".join(text.split())[:limit]
