"""The trigger rebuilds itself, keeps quiet while work runs, fires once, rides out errors, and knows when to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import TriggerEvent

from sagwatch.errors import StopAndAskError, TryAgainError
from sagwatch.orchestration.trigger import MOST_FAILURES_IN_A_ROW, JobsTrigger
from sagwatch.orchestration.wait_for_jobs import LEAST_PATIENCE, MARGIN, patience_until_next_run


def trigger(poll: Callable[[], int], patience_seconds: float = 5.0) -> JobsTrigger:
    """A trigger that asks ``poll`` instead of HyP3."""
    made = JobsTrigger("shaqu", "t011a", poll_seconds=0.01, patience_seconds=patience_seconds)
    made.poll = poll  # type: ignore[method-assign]
    return made


def fire(waiting: JobsTrigger) -> list[TriggerEvent]:
    async def all_events() -> list[TriggerEvent]:
        return [event async for event in waiting.run()]

    return asyncio.run(asyncio.wait_for(all_events(), 20))


def test_it_rebuilds_itself_from_plain_arguments() -> None:
    path, arguments = JobsTrigger("shaqu", "t011a", poll_seconds=2.5, patience_seconds=60.0).serialize()

    again = import_string(path)(**arguments)

    assert isinstance(again, JobsTrigger)
    assert again.serialize() == (path, arguments)
    assert arguments == {"site": "shaqu", "track": "t011a", "poll_seconds": 2.5, "patience_seconds": 60.0}


def test_it_is_quiet_while_jobs_run_and_fires_once_when_none_is_left() -> None:
    answers = iter([5, 5, 2, 1, 0])

    events = fire(trigger(lambda: next(answers)))

    assert [event.payload for event in events] == [{"still_open": 0}]
    assert list(answers) == []


def test_when_patience_ends_it_fires_with_what_is_open_and_does_not_fail() -> None:
    events = fire(trigger(lambda: 3, patience_seconds=0.1))

    assert [event.payload for event in events] == [{"still_open": 3}]


def test_it_rides_out_errors_that_may_pass() -> None:
    failures = iter([TryAgainError("HyP3 answers 503")] * (MOST_FAILURES_IN_A_ROW - 1) + [None])

    def poll() -> int:
        problem = next(failures)
        if problem is not None:
            raise problem
        return 0

    assert [event.payload for event in fire(trigger(poll))] == [{"still_open": 0}]


def test_many_errors_in_a_row_rise_with_their_own_words() -> None:
    calls = []

    def poll() -> int:
        calls.append(1)
        raise TryAgainError("HyP3 answers 503")

    with pytest.raises(TryAgainError, match="503"):
        fire(trigger(poll))
    assert len(calls) == MOST_FAILURES_IN_A_ROW


def test_wrong_credentials_rise_at_once() -> None:
    calls = []

    def poll() -> int:
        calls.append(1)
        raise StopAndAskError("renew the token")

    with pytest.raises(StopAndAskError, match="renew"):
        fire(trigger(poll))
    assert len(calls) == 1


def test_a_slow_poll_does_not_hold_up_the_other_triggers() -> None:
    import time

    async def both() -> int:
        beats = 0
        waiting = asyncio.create_task(anext(aiter(trigger(lambda: time.sleep(0.5) or 0).run())))
        while not waiting.done():
            await asyncio.sleep(0.01)
            beats += 1
        return beats

    assert asyncio.run(both()) > 10


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 1, 1, 0, 15, tzinfo=UTC), timedelta(minutes=300)),
        (datetime(2026, 1, 1, 3, 15, tzinfo=UTC), timedelta(hours=3) - MARGIN),
        (datetime(2026, 1, 1, 6, 14, tzinfo=UTC), LEAST_PATIENCE),
    ],
)
def test_the_wait_ends_before_the_next_run_is_due(now: datetime, expected: timedelta) -> None:
    assert patience_until_next_run("15 */6 * * *", 300, now) == expected
