"""HyP3, the service that makes interferograms, asked through ``hyp3_sdk``.

The SDK has no time-outs, does not retry, and tells errors apart by text only; all of that is added here. A POST is
never repeated here: after a doubtful one the caller looks its names up first.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import hyp3_sdk
import requests
from hyp3_sdk.exceptions import (
    AuthenticationError,
    HyP3Error,
    HyP3SDKError,
    ServerError,
    ServiceUnavailableError,
)

from sagwatch.adapters.http import PatientAdapter, first_line
from sagwatch.domain.order import CloudJob, Order
from sagwatch.errors import (
    BadInputError,
    BadProductError,
    GoneError,
    NoCreditsError,
    RefusedError,
    SagwatchError,
    StopAndAskError,
    TryAgainError,
)

log = logging.getLogger(__name__)

#: HyP3 refuses more than 200 jobs a request; smaller batches lose less when one is refused.
BATCH = 100
#: More names or ids than this are looked up in one listing of the account instead of one by one.
ONE_BY_ONE = 10
#: HyP3's listing is an eventually consistent index.
LOOKUP_PAUSE_SECONDS = 60.0
#: Where products may come from, besides the API's own host: ASF and the object stores it uses.
PRODUCT_HOSTS = ("*.asf.alaska.edu", "*.cloudfront.net", "*.amazonaws.com")
_REDIRECTS = 5
_CHUNK_BYTES = 1 << 18


class Hyp3Cloud:
    """Keeps the promise of `steps.ports.InsarCloud`.

    Parameters
    ----------
    url : the API's address
    token : an Earthdata token; or ``username`` and ``password``
    lookup_pause_seconds : pause before a doubtful name is looked up a second time
    """

    def __init__(
        self,
        url: str = hyp3_sdk.PROD_API,
        token: str | None = None,
        username: str | None = None,
        password: str | None = None,
        lookup_pause_seconds: float = LOOKUP_PAUSE_SECONDS,
        read_seconds: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url
        self._pause_seconds = lookup_pause_seconds
        self._read_seconds = read_seconds
        self._sleep = sleep
        self._costs: dict[str, Any] | None = None
        if not token and not (username and password):
            raise StopAndAskError(
                "HyP3 needs an Earthdata token, or a user name and a password; none is given"
            )
        with _hyp3_errors("logging in"):
            self._hyp3 = hyp3_sdk.HyP3(url, username=username, password=password, token=token)
        for scheme in ("http://", "https://"):
            self._hyp3.session.mount(scheme, PatientAdapter(read_seconds=read_seconds))

    def find(self, names: Sequence[str], doubtful: bool = False) -> dict[str, CloudJob]:
        """Those jobs of the account that have exactly these names; the oldest, should one name have two."""
        found = self._look_up(names)
        missing = [name for name in names if name not in found]
        if missing and doubtful:
            log.info(
                "%d of %d names not found; asking again in %g s",
                len(missing),
                len(names),
                self._pause_seconds,
            )
            self._sleep(self._pause_seconds)
            found |= self._look_up(missing)
        return found

    def _look_up(self, names: Sequence[str]) -> dict[str, CloudJob]:
        with _hyp3_errors("looking for jobs by name"):
            if len(names) <= ONE_BY_ONE:
                batches = [self._hyp3.find_jobs(name=name) for name in names]
            else:
                batches = [self._hyp3.find_jobs()]
        wanted = set(names)
        found: dict[str, CloudJob] = {}
        jobs = [_job(job) for batch in batches for job in batch.jobs]
        for job in sorted(jobs, key=lambda j: (j.requested_at, j.id), reverse=True):
            if job.name in wanted:
                if job.name in found:
                    log.warning("HyP3 has two jobs named %s: %s and %s", job.name, job.id, found[job.name].id)
                found[job.name] = job
        return found

    def submit(self, orders: Sequence[Order]) -> list[CloudJob]:
        """Order all or none; at most ``BATCH`` at once."""
        if len(orders) > BATCH:
            raise ValueError(f"{len(orders)} orders at once, at most {BATCH}")
        prepared = [_prepared(order) for order in orders]
        with _hyp3_errors(f"ordering {len(orders)} jobs"):
            jobs = [_job(job) for job in self._hyp3.submit_prepared_jobs(prepared).jobs]
        if sorted(job.name for job in jobs) != sorted(order.name for order in orders):
            raise TryAgainError("HyP3 answered an order with other jobs than were ordered")
        return jobs

    def validate(self, orders: Sequence[Order]) -> None:
        """Have orders checked by HyP3's ``validate_only``, which neither stores nor charges anything."""
        body = {"jobs": [_prepared(order) for order in orders], "validate_only": True}
        with _hyp3_errors(f"validating {len(orders)} orders"):
            answer = self._hyp3.session.post(f"{self._url.rstrip('/')}/jobs", json=body)
            # The same mapping of errors as the SDK's own requests get.
            hyp3_sdk.exceptions._raise_for_hyp3_status(answer)
            if not answer.json().get("validate_only"):
                raise StopAndAskError(
                    "HyP3 did not confirm that it only validated; look into the account before ordering anything"
                )

    def jobs(self, ids: Sequence[str], since: datetime | None = None) -> list[CloudJob]:
        """The present state of jobs by HyP3 id; those that HyP3 does not know are left out."""
        jobs: dict[str, CloudJob] = {}
        if len(ids) > ONE_BY_ONE:
            with _hyp3_errors("listing the account's jobs"):
                wanted = set(ids)
                jobs = {
                    j.job_id: _job(j) for j in self._hyp3.find_jobs(start=since).jobs if j.job_id in wanted
                }
        for job_id in ids:
            if job_id not in jobs and (job := self._job_by_id(job_id)) is not None:
                jobs[job_id] = job
        return [jobs[job_id] for job_id in ids if job_id in jobs]

    def _job_by_id(self, job_id: str) -> CloudJob | None:
        with _hyp3_errors(f"asking for job {job_id}"):
            try:
                return _job(self._hyp3.get_job_by_id(job_id))
            except HyP3Error as problem:
                if _status(str(problem)) == 404:
                    return None
                raise

    def remaining_credits(self) -> float | None:
        """Credits left this month; None where the account has no limit."""
        with _hyp3_errors("reading the credits"):
            credits = self._hyp3.my_info()["remaining_credits"]
        return None if credits is None else float(credits)

    def cost(self, job_type: str, looks: str, granule_pairs: int) -> float:
        """Credits of one order, from the service's own table."""
        if self._costs is None:
            with _hyp3_errors("reading the costs"):
                self._costs = self._hyp3.costs()
        return _cost(self._costs, job_type, {"looks": looks, "reference": str(granule_pairs)})

    def download(self, job: CloudJob, target: Path, limit_bytes: int) -> None:
        """Stream a job's product to ``target``, a temporary name."""
        if not job.file_url or not job.file_name:
            raise BadProductError(f"job {job.name} has finished without a product")
        if job.file_bytes is not None and job.file_bytes > limit_bytes:
            raise BadProductError(f"{job.file_name} is {job.file_bytes} bytes, the limit is {limit_bytes}")
        # A session of its own: the Earthdata token stays with the API.
        with requests.Session() as session, _hyp3_errors(f"downloading {job.file_name}"):
            session.trust_env = self._hyp3.session.trust_env
            session.mount("https://", PatientAdapter(read_seconds=self._read_seconds))
            session.mount("http://", PatientAdapter(read_seconds=self._read_seconds))
            with self._open(session, job.file_url) as answer, target.open("wb") as file:
                _check_answer(answer, job)
                written = _copy(answer, file, limit_bytes)
                # Written down all the same: the page is the evidence of what went wrong.
                if "text/html" in answer.headers.get("content-type", "").lower():
                    raise BadProductError(f"instead of {job.file_name} a web page came, perhaps a login")
        if job.file_bytes is not None and written != job.file_bytes:
            raise BadProductError(f"{job.file_name} has {written} bytes, {job.file_bytes} were announced")

    def _open(self, session: requests.Session, url: str) -> requests.Response:
        """Follow redirects by hand: each hop must lead to a host that may serve products."""
        for _ in range(_REDIRECTS):
            self._check_host(url)
            answer = session.get(url, stream=True, allow_redirects=False)
            if not answer.is_redirect:
                return answer
            answer.close()
            url = urljoin(url, answer.headers["location"])
        raise BadProductError(f"the product's address redirects more than {_REDIRECTS} times")

    def _check_host(self, url: str) -> None:
        here, there = urlsplit(self._url), urlsplit(url)
        if (there.scheme, there.netloc) == (here.scheme, here.netloc):
            return
        host = there.hostname or ""
        if there.scheme != "https" or not any(fnmatch(host, pattern) for pattern in PRODUCT_HOSTS):
            raise BadProductError(f"a product is offered at {there.scheme}://{host}, where HyP3 keeps none")


def _prepared(order: Order) -> dict[str, Any]:
    return {"job_type": order.job_type, "name": order.name, "job_parameters": order.parameters}


def _job(job: hyp3_sdk.Job) -> CloudJob:
    zips = [f for f in job.files or [] if str(f.get("filename", "")).endswith(".zip")]
    product = zips[0] if zips else {}
    return CloudJob(
        id=job.job_id,
        name=job.name or "",
        status=job.status_code,
        requested_at=_aware(job.request_time),
        expires_at=_aware(job.expiration_time) if job.expiration_time else None,
        file_name=product.get("filename"),
        file_url=product.get("url"),
        file_bytes=product.get("size"),
        log_urls=tuple(job.logs or ()),
        credits=None if job.credit_cost is None else float(job.credit_cost),
    )


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _cost(table: dict[str, Any], job_type: str, parameters: dict[str, str]) -> float:
    """Walk a cost table: each cost parameter's value leads one level deeper."""
    entry = table.get(job_type)
    if entry is None:
        raise BadInputError(f"HyP3 offers no {job_type}; it offers {', '.join(sorted(table))}")
    if "cost" in entry:
        return float(entry["cost"])
    level = entry["cost_table"]
    for name in entry["cost_parameters"]:
        value = parameters.get(name, "")
        if value not in level:
            raise BadInputError(
                f"HyP3 has no price for {job_type} with {name} = {value}; known: {', '.join(level)}"
            )
        level = level[value]
    return float(level)


def _check_answer(answer: requests.Response, job: CloudJob) -> None:
    if answer.status_code in (403, 404, 410):
        raise GoneError(f"{job.file_name} is no longer at HyP3 (HTTP {answer.status_code})")
    if answer.status_code == 401:
        raise StopAndAskError(f"the download of {job.file_name} asks for a login")
    answer.raise_for_status()


def _copy(answer: requests.Response, file: IO[bytes], limit_bytes: int) -> int:
    written = 0
    for chunk in answer.iter_content(_CHUNK_BYTES):
        written += len(chunk)
        if written > limit_bytes:
            raise BadProductError(f"the product is larger than the limit of {limit_bytes} bytes")
        file.write(chunk)
    return written


def _status(text: str) -> int | None:
    match = re.search(r"<Response \[(\d{3})\]>", text)
    return int(match[1]) if match else None


@contextmanager
def _hyp3_errors(doing: str) -> Iterator[None]:
    """Turn everything that the SDK and requests raise into our errors, by what has to be done about it."""
    try:
        yield
    except SagwatchError:
        raise
    except AuthenticationError as problem:
        raise StopAndAskError(f"Earthdata refuses the login: {first_line(str(problem))}") from problem
    except HyP3Error as problem:
        raise _by_text(str(problem), doing) from problem
    except (ServerError, ServiceUnavailableError) as problem:
        raise TryAgainError(
            f"HyP3 failed while {doing}: {first_line(str(problem)) or 'HTTP 5xx'}"
        ) from problem
    except requests.JSONDecodeError as problem:
        raise _by_web_page(problem, doing) from problem
    except (requests.RequestException, HyP3SDKError) as problem:
        raise TryAgainError(f"HyP3 failed while {doing}: {first_line(str(problem))}") from problem
    except (KeyError, TypeError, ValueError) as problem:
        raise TryAgainError(
            f"HyP3's answer cannot be read while {doing} ({type(problem).__name__}: {problem})"
        ) from problem


def _by_text(text: str, doing: str) -> SagwatchError:
    status = _status(text)
    detail = first_line(text.split(">", 1)[-1])
    if status in (401, 403):
        return StopAndAskError(
            f"HyP3 refuses us while {doing} (HTTP {status}): {detail}. Renew the token or ask for access"
        )
    if status in (408, 425, 429):
        return TryAgainError(f"HyP3 is busy while {doing} (HTTP {status}): {detail}")
    if re.search(r"would cost .* credits, but you have only", detail):
        return NoCreditsError(detail)
    return RefusedError(f"HyP3 refuses while {doing} (HTTP {status}): {detail}")


def _by_web_page(problem: requests.JSONDecodeError, doing: str) -> SagwatchError:
    """An HTML page where JSON belongs: the SDK raises before it looks at the status, which is in the chain."""
    cause: BaseException | None = problem
    while cause is not None:
        response = getattr(cause, "response", None)
        if response is not None and response.status_code in (401, 403):
            return StopAndAskError(f"HyP3 refuses us while {doing} (HTTP {response.status_code}, a web page)")
        cause = cause.__context__
    return TryAgainError(f"a web page came instead of HyP3's answer while {doing}")
