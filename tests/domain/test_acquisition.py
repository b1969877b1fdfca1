"""Granules become acquisitions: one a date, whatever their order, each granule with a verdict."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sagwatch.domain.acquisition import Granule, merge_granules
from tests.steps.small_site import burst_track

TRACK = burst_track("ascending", "011_021697_IW3", "011_021698_IW3")
FIRST = datetime(2024, 1, 1, 10, 37, 2, tzinfo=UTC)


def granule(day: int = 0, burst: str = "021697", version: str = "003.71", **changes) -> Granule:
    at = FIRST + timedelta(days=day, seconds=2.8 if burst == "021698" else 0)
    whole = Granule(
        name=f"S1_{burst}_IW3_{at:%Y%m%dT%H%M%S}_VV_{version[-2:]}00-BURST",
        acquired_at=at,
        platform="S1A",
        relative_orbit=11,
        absolute_orbit=51883,
        direction="ascending",
        polarisation="VV",
        burst=f"011_{burst}_IW3",
        frame=None,
        footprint_wkt="",
        bytes=1,
        processing_version=version,
        published_at=at + timedelta(hours=20),
    )
    return replace(whole, **changes)


def both(day: int, **changes) -> list[Granule]:
    return [granule(day, "021697", **changes), granule(day, "021698", **changes)]


many = st.lists(
    st.builds(
        granule,
        st.integers(0, 5),
        st.sampled_from(["021697", "021698"]),
        st.sampled_from(["003.50", "003.60", "003.71"]),
        polarisation=st.sampled_from(["VV", "VV", "VH"]),
        platform=st.sampled_from(["S1A", "S1A", "S1C"]),
    ),
    max_size=20,
    unique_by=lambda g: g.name,
)


@given(many, st.randoms())
def test_neither_order_nor_repetition_of_granules_matters(granules, random):
    shuffled = [*granules, *granules[:3]]
    random.shuffle(shuffled)

    assert merge_granules(TRACK, shuffled, {}, {}) == merge_granules(TRACK, granules, {}, {})


@given(many)
def test_every_granule_gets_one_verdict_and_every_date_one_acquisition(granules):
    merged = merge_granules(TRACK, granules, {}, {})

    assert sorted(v.granule.name for v in merged.verdicts) == sorted(g.name for g in granules)
    assert all(v.reason for v in merged.verdicts if v.state != "chosen")
    chosen = {v.granule.name for v in merged.verdicts if v.state == "chosen"}
    assert chosen == {name for a in merged.acquisitions for name in a.granules}
    dates = [a.date for a in merged.acquisitions]
    assert dates == sorted(set(dates))
    for acquisition in merged.acquisitions:
        assert len(acquisition.granules) + len(acquisition.missing_bursts) == 2


def test_the_newest_processing_stands_for_the_acquisition():
    old, new = granule(version="003.50"), granule(version="003.71")

    merged = merge_granules(TRACK, [new, old], {}, {})

    assert merged.acquisitions[0].granules == (new.name,)
    assert {v.granule.name: v.state for v in merged.verdicts} == {old.name: "superseded", new.name: "chosen"}


def test_what_was_ordered_keeps_its_granule():
    old, new = granule(version="003.50"), granule(version="003.71")

    merged = merge_granules(TRACK, [new, old], {}, {date(2024, 1, 1): frozenset({old.name})})

    assert merged.acquisitions[0].granules == (old.name,)


def test_granules_are_in_the_order_of_their_bursts_and_the_time_is_the_first():
    acquisition = merge_granules(TRACK, reversed(both(0)), {date(2024, 1, 1): 12.0}, {}).acquisitions[0]

    assert [name[3:9] for name in acquisition.granules] == ["021697", "021698"]
    assert acquisition.acquired_at == FIRST
    assert acquisition.perpendicular_baseline_m == 12.0
    assert acquisition.missing_bursts == ()


def test_a_missing_burst_is_named():
    acquisition = merge_granules(TRACK, [granule()], {}, {}).acquisitions[0]

    assert acquisition.missing_bursts == ("011_021698_IW3",)


def test_what_does_not_belong_is_refused_with_the_reason():
    strangers = {
        "polarisation VH": granule(1, polarisation="VH", name="a"),
        "relative orbit 12": granule(1, relative_orbit=12, name="b"),
        "descending pass": granule(1, direction="DESCENDING", name="c"),
        "burst 011_021699_IW3": granule(1, burst="021699", name="d"),
    }

    merged = merge_granules(TRACK, strangers.values(), {}, {})

    assert merged.acquisitions == ()
    for reason, stranger in strangers.items():
        verdict = next(v for v in merged.verdicts if v.granule == stranger)
        assert verdict.state == "refused"
        assert verdict.reason.startswith(reason)


def test_a_scene_may_slip_by_less_than_a_scene():
    track = burst_track("ascending", "011_021697_IW3", bursts=(), frame=118, processor="INSAR_GAMMA")
    scenes = [
        granule(i, burst=None, frame=frame, name=f"s{frame}", polarisation="VV+VH")
        for i, frame in enumerate((116, 118, 120, 123))
    ]
    scenes = [replace(s, burst=None) for s in scenes]

    merged = merge_granules(track, scenes, {}, {})

    assert [v.state for v in merged.verdicts] == ["chosen", "chosen", "chosen", "refused"]
