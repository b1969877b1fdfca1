"""The rules of the HyP3 API: what an order may look like, what it costs, and the exact words of every refusal.

Orders are checked as the real server does, in its order: schema, access, existence in the catalogue, validators of
the job type, credits (the last one in :mod:`sagwatch.simulation.state`, together with storing them).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from .granule import Granule
from .state import NewJob

PRODUCT_DAYS = 14
MOST_JOBS = 200
MOST_UPDATES = 100
MOST_BURST_PAIRS = 15
SAME_PASS = timedelta(minutes=2)

MULTI_BURST = re.compile(r"^S1_\d{6}_IW\d_\d{8}T\d{6}_[VH]{2}_([\dA-F]){4}-BURST$")
SINGLE_BURST = re.compile(r"^S1_\d{6}_IW.*-BURST")
SCENE = re.compile(r"^S1[ABCD]_IW_SLC__1S[SD][VH]")


class ProblemError(Exception):
    """A refusal with its HTTP status and HyP3's text."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    503: "Service Unavailable",
}


def _schema_error() -> ProblemError:
    # The real server names neither the field nor the reason.
    return ProblemError(400, TITLES[400])


# --- what an order costs ---------------------------------------------------------------------------------------------


def _by_count(*steps: tuple[range, int]) -> dict[str, int]:
    return {str(count): cost for counts, cost in steps for count in counts}


COSTS: dict[str, Any] = {
    "INSAR_ISCE_BURST": {"cost": 1},
    "INSAR_GAMMA": {"cost_parameters": ["looks"], "cost_table": {"20x4": 10, "10x2": 15}},
    "INSAR_ISCE_MULTI_BURST": {
        "cost_parameters": ["looks", "reference"],
        "cost_table": {
            "20x4": _by_count((range(1, 5), 1), (range(5, 13), 5), (range(13, 16), 10)),
            "10x2": _by_count((range(1, 4), 1), (range(4, 10), 5), (range(10, 16), 10)),
            "5x1": {"1": 1}
            | {str(n): 5 * (n - 1) for n in range(2, 11)}
            | {str(n): 90 + 5 * (n - 11) for n in range(11, 16)},
        },
    },
}


def cost(job_type: str, parameters: Mapping[str, Any]) -> float:
    """Credits of one job, by the published table."""
    entry = COSTS[job_type]
    if "cost" in entry:
        return float(entry["cost"])
    found: Any = entry["cost_table"]
    for name in entry["cost_parameters"]:
        value = parameters[name]
        found = found[str(len(value)) if isinstance(value, list) else value]
    return float(found)


# --- schema ----------------------------------------------------------------------------------------------------------

_FLAG = (lambda value: isinstance(value, bool), False)


def _one_of(*choices: str) -> Callable[[Any], bool]:
    return lambda value: value in choices


def _names(pattern: re.Pattern[str], length: int, count: int | None = None) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        return (
            isinstance(value, list)
            and (count is None or len(value) == count)
            and all(isinstance(name, str) and len(name) == length and pattern.match(name) for name in value)
        )

    return test


# name -> (test, default); a default of None means that the parameter must be given
_PARAMETERS: dict[str, dict[str, tuple[Callable[[Any], bool], Any]]] = {
    "INSAR_ISCE_MULTI_BURST": {
        "reference": (_names(MULTI_BURST, 43), None),
        "secondary": (_names(MULTI_BURST, 43), None),
        "apply_water_mask": _FLAG,
        "looks": (_one_of("20x4", "10x2", "5x1"), "20x4"),
    },
    "INSAR_ISCE_BURST": {
        "granules": (_names(SINGLE_BURST, 43, 2), None),
        "apply_water_mask": _FLAG,
        "looks": (_one_of("20x4", "10x2", "5x1"), "20x4"),
    },
    "INSAR_GAMMA": {
        "granules": (_names(SCENE, 67, 2), None),
        "include_look_vectors": _FLAG,
        "include_los_displacement": _FLAG,
        "include_inc_map": _FLAG,
        "looks": (_one_of("20x4", "10x2"), "20x4"),
        "include_dem": _FLAG,
        "include_wrapped_phase": _FLAG,
        "apply_water_mask": _FLAG,
        "include_displacement_maps": _FLAG,
        "phase_filter_parameter": (
            lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1,
            0.6,
        ),
    },
}
_JOB_KEYS = {"job_type", "job_parameters", "name", "bucket", "bucket_prefix"}


def read_orders(body: Any) -> tuple[list[NewJob], bool]:
    """Check the shape of ``POST /jobs`` and fill in defaults; also says whether it is a dry run."""
    if not isinstance(body, dict) or not set(body) <= {"jobs", "validate_only"}:
        raise _schema_error()
    jobs, dry_run = body.get("jobs"), body.get("validate_only", False)
    if not isinstance(jobs, list) or not 1 <= len(jobs) <= MOST_JOBS or not isinstance(dry_run, bool):
        raise _schema_error()
    return [_read_job(job) for job in jobs], dry_run


def _read_job(job: Any) -> NewJob:
    if not isinstance(job, dict) or not set(job) <= _JOB_KEYS or job.get("job_type") not in _PARAMETERS:
        raise _schema_error()
    job_type, given, name = job["job_type"], job.get("job_parameters"), job.get("name")
    if name is not None and not (isinstance(name, str) and 1 <= len(name) <= 100):
        raise _schema_error()
    rules = _PARAMETERS[job_type]
    if not isinstance(given, dict) or not set(given) <= set(rules):
        raise _schema_error()
    parameters = {}
    for key, (test, default) in rules.items():
        value = given.get(key, default)
        if value is None or not test(value):
            raise _schema_error()
        parameters[key] = value
    length = len(parameters.get("reference", []))
    known = job_type != "INSAR_ISCE_MULTI_BURST" or 1 <= length <= MOST_BURST_PAIRS
    # Orders of an impossible length have no price; their validator refuses them before it matters.
    return NewJob(name, job_type, parameters, cost(job_type, parameters) if known else 0.0)


# --- validators ------------------------------------------------------------------------------------------------------


def validate(jobs: Iterable[NewJob], catalogue: Mapping[str, Granule] | None) -> None:
    """Refuse orders that the real server would refuse; without a catalogue (it is down) existence is not checked."""
    jobs = list(jobs)
    if catalogue is not None:
        wanted = dict.fromkeys(name for job in jobs for name in _granules(job))
        unknown = [name for name in wanted if name not in catalogue]
        if unknown:
            raise ProblemError(400, f"Some requested scenes could not be found: {', '.join(unknown)}")
    for job in jobs:
        if job.job_type == "INSAR_ISCE_BURST":
            _check_single_burst_pair(*job.parameters["granules"])
        elif job.job_type == "INSAR_ISCE_MULTI_BURST":
            _check_multi_burst(job.parameters["reference"], job.parameters["secondary"])


def _granules(job: NewJob) -> list[str]:
    if job.job_type == "INSAR_ISCE_MULTI_BURST":
        return [*job.parameters["reference"], *job.parameters["secondary"]]
    return list(job.parameters["granules"])


def _number_swath(granule: str) -> str:
    return "_".join(granule.split("_")[1:3])


def _polarization(granule: str) -> str:
    return granule.split("_")[4]


def _acquired(granule: str) -> datetime:
    return datetime.strptime(granule.split("_")[3] + "+0000", "%Y%m%dT%H%M%S%z")


def _check_single_burst_pair(first: str, second: str) -> None:
    if _number_swath(first) != _number_swath(second):
        raise ProblemError(400, f"Burst IDs do not match for {first} and {second}.")
    one, other = _polarization(first), _polarization(second)
    if one != other:
        raise ProblemError(
            400, f"The requested scenes need to have the same polarization, got: {one}, {other}"
        )
    if one not in ("VV", "HH"):
        raise ProblemError(400, f"Only VV and HH polarizations are currently supported, got: {one}")


def _check_multi_burst(references: list[str], secondaries: list[str]) -> None:
    for problem in _multi_burst_problems(references, secondaries):
        raise ProblemError(400, problem)


def _multi_burst_problems(references: list[str], secondaries: list[str]) -> Iterable[str]:
    counts = len(references), len(secondaries)
    if max(counts) > MOST_BURST_PAIRS:
        yield (
            f"Must provide no more than {MOST_BURST_PAIRS} scene pairs, "
            f"got {counts[0]} reference and {counts[1]} secondary"
        )
    if min(counts) < 1:
        yield "Must include at least 1 reference scene and 1 secondary scene"
    if counts[0] != counts[1]:
        yield (
            "Must provide the same number of reference and secondary scenes, "
            f"got {counts[0]} reference and {counts[1]} secondary"
        )
    ids = [[f"{_number_swath(g)}_{_polarization(g)}" for g in group] for group in (references, secondaries)]
    if sorted(ids[0]) != sorted(ids[1]):
        yield (
            "Burst number + swath + polarization identifiers must be the same "
            "for reference scenes and secondary scenes"
        )
    if len(set(ids[0])) != len(ids[0]):
        yield "Each reference scene must have a unique burst number + swath + polarization identifier"
    polarizations = sorted({_polarization(granule) for granule in references})
    if len(polarizations) > 1:
        yield f"Scenes must have the same polarization. Polarizations present: {', '.join(polarizations)}"
    if polarizations[0] not in ("VV", "HH"):
        yield f"{polarizations[0]} polarization is not currently supported, only VV and HH"
    for word, group in (("Reference", references), ("Secondary", secondaries)):
        times = [_acquired(granule) for granule in group]
        if max(times) - min(times) > SAME_PASS:
            yield (
                f"{word} scenes must fall within a 2-minute window in order to ensure "
                "they were collected during the same pass"
            )
    if max(map(_acquired, references)) >= min(map(_acquired, secondaries)):
        yield "Reference scenes must be older than secondary scenes"


def expires(requested: datetime) -> datetime:
    """Products are deleted at the first midnight after their lifetime."""
    end = requested + timedelta(days=PRODUCT_DAYS)
    midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if midnight == end else midnight + timedelta(days=1)
