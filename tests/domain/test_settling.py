"""Every acquisition is explained at every moment, by facts only."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagwatch.domain.acquisition import Acquisition, AcquisitionState
from sagwatch.domain.settling import PairFacts, settle
from sagwatch.domain.stack_rules import NetworkRules

DAY = datetime(2024, 3, 1, 10, tzinfo=UTC)
RULES = NetworkRules()


def acquisition(missing: tuple[str, ...] = ()) -> Acquisition:
    return Acquisition("site/t011a", DAY.date(), DAY, "S1A", ("g",), 0.0, missing)


def pair(**changes) -> PairFacts:
    facts = {
        "reference": date(2024, 2, 18),
        "secondary": DAY.date(),
        "wanted": True,
        "planned_at": DAY,
        "given_up_reason": None,
        "job_state": None,
        "job_intended_at": None,
        "interferograms": (),
    }
    return PairFacts(**(facts | changes))


RUNNING = pair(job_state="open", job_intended_at=DAY)
USED = pair(job_state="fetched", interferograms=(("accepted", None),))
GIVEN_UP = pair(given_up_reason="3 attempts, the last: broken", job_state="failed")
TOO_LOW = pair(job_state="fetched", interferograms=(("excluded", "mean coherence 0.05 is below 0.1"),))


@pytest.mark.parametrize(
    ("pairs", "days_later", "state", "words"),
    [
        ([USED, GIVEN_UP], 400, AcquisitionState.USED, None),
        ([RUNNING], 1, AcquisitionState.PENDING, "have not ended"),
        ([RUNNING], 22, AcquisitionState.UNAVAILABLE, "have not ended by 2024-03-22"),
        ([RUNNING, GIVEN_UP], 20, AcquisitionState.PENDING, "have not ended"),
        ([pair()], 44, AcquisitionState.PENDING, "not ordered yet"),
        ([pair()], 46, AcquisitionState.UNAVAILABLE, "not ordered yet by"),
        ([GIVEN_UP], 10, AcquisitionState.PENDING, "a later acquisition may pair with it"),
        ([GIVEN_UP], 100, AcquisitionState.UNAVAILABLE, "given up: 3 attempts"),
        ([TOO_LOW], 100, AcquisitionState.REJECTED, "excluded: mean coherence"),
        ([TOO_LOW, GIVEN_UP], 100, AcquisitionState.UNAVAILABLE, "given up"),
        ([], 74, AcquisitionState.PENDING, "no other acquisition within 30 days and 300 m"),
        ([], 76, AcquisitionState.UNAVAILABLE, "no other acquisition within 30 days and 300 m"),
        ([pair(wanted=False)], 76, AcquisitionState.UNAVAILABLE, "no other acquisition"),
    ],
)
def test_an_acquisition_is_what_became_of_its_pairs(pairs, days_later, state, words):
    settled = settle(acquisition(), pairs, RULES, DAY + timedelta(days=days_later))

    assert settled.state is state
    assert (settled.reason is None) if words is None else (words in settled.reason)


def test_a_missing_burst_is_waited_for_and_then_named_as_evidence():
    incomplete = acquisition(("011_021698_IW3",))

    waiting = settle(incomplete, [], RULES, DAY + timedelta(days=40))
    missed = settle(incomplete, [], RULES, DAY + timedelta(days=50))

    assert (waiting.state, waiting.until) == (AcquisitionState.PENDING, DAY + timedelta(days=45))
    assert missed.state is AcquisitionState.UNAVAILABLE
    assert "011_021698_IW3" in missed.reason


def test_a_date_that_the_site_does_not_name_is_rejected():
    rules = NetworkRules(only=[(date(2024, 1, 1), date(2024, 1, 13))])

    settled = settle(acquisition(), [], rules, DAY)

    assert settled.state is AcquisitionState.REJECTED
    assert "names its pairs" in settled.reason


@given(
    st.lists(st.sampled_from([RUNNING, USED, GIVEN_UP, TOO_LOW, pair(), pair(wanted=False)]), max_size=6),
    st.integers(0, 500),
    st.booleans(),
)
def test_nothing_is_ever_without_reason_or_deadline(pairs, days_later, complete):
    as_of = DAY + timedelta(days=days_later)
    settled = settle(acquisition(() if complete else ("011_021698_IW3",)), pairs, RULES, as_of)

    assert settled.state in {"used", "pending", "unavailable", "rejected"}
    assert (settled.reason is None) == (settled.state is AcquisitionState.USED)
    assert (settled.until is not None) == (settled.state is AcquisitionState.PENDING)
    assert settled.until is None or settled.until >= as_of


@given(st.lists(st.sampled_from([RUNNING, GIVEN_UP, TOO_LOW, pair()]), max_size=5))
def test_nothing_stays_pending_for_ever(pairs):
    settled = settle(acquisition(), pairs, RULES, DAY + timedelta(days=366))

    assert settled.state in {AcquisitionState.UNAVAILABLE, AcquisitionState.REJECTED}
