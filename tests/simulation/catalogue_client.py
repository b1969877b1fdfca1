"""The unmodified asf_search, pointed at a simulated cloud on loopback."""

import asf_search
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

HOST = "cmr.simulated.invalid"


class _Loopback(HTTPAdapter):
    """asf_search insists on https: its requests for one invented host go to a plain http address."""

    def __init__(self, url: str) -> None:
        self._url = url
        super().__init__()

    def send(self, request: PreparedRequest, *args: object, **kwargs: object) -> Response:
        assert request.url is not None
        request.url = request.url.replace(f"https://{HOST}", self._url)
        return super().send(request, *args, **kwargs)


def search_options(url: str) -> asf_search.ASFSearchOptions:
    """Options for one server, with a session of their own."""
    asf_search.REPORT_ERRORS = False
    session = asf_search.ASFSession()
    session.trust_env = False
    session.mount(f"https://{HOST}", _Loopback(url))
    return asf_search.ASFSearchOptions(host=HOST, session=session)
