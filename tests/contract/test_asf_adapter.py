"""The catalogue adapter keeps the promises of the port `Catalogue`, and refuses what is not whole."""

import json
from datetime import UTC, date, datetime

import asf_search
import pytest

from sagwatch.adapters.asf import AsfCatalogue, _baselines_m, _granule
from sagwatch.errors import BadInputError, IncompleteAnswerError, StopAndAskError, TryAgainError
from sagwatch.simulation.running import start
from tests.contract.test_hyp3_adapter import answering
from tests.simulation.small_world import write_small_world
from tests.steps.small_site import burst_track

TRACK = burst_track("ascending", "011_021697_IW3")
BEGIN, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def sim(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cmr")
    with start(folder / "cloud", scenario=str(write_small_world(folder))) as running:
        running.show(6)
        yield running


@pytest.fixture(autouse=True)
def fair_weather(sim):
    sim.faults()
    yield
    sim.faults()


@pytest.fixture
def catalogue(sim):
    return AsfCatalogue(sim.url)


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch):
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)


def test_an_answer_has_every_granule_of_the_burst_and_baselines_by_date(catalogue):
    answer = catalogue.search(TRACK, BEGIN, END)

    wanted = {g.date for g in answer.granules if g.polarisation == "VV"}
    assert {g.burst for g in answer.granules} == {"011_021697_IW3"}
    assert {g.polarisation for g in answer.granules} == {"VV", "VH"}
    assert set(answer.perpendicular_baseline_m) == wanted
    assert answer.perpendicular_baseline_m[min(wanted)] == 0
    one = min(answer.granules, key=lambda g: (g.acquired_at, g.name))
    assert (one.platform, one.relative_orbit, one.direction) == ("S1A", 11, "ascending")
    assert one.acquired_at.tzinfo is not None
    assert one.bytes > 10**8
    assert one.footprint_wkt.startswith("POLYGON")


def test_baselines_are_measured_from_the_asked_reference_whatever_the_window(catalogue):
    whole = catalogue.search(TRACK, BEGIN, END)
    first = min((g for g in whole.granules if g.polarisation == "VV"), key=lambda g: g.acquired_at)

    part = catalogue.search(TRACK, datetime(2024, 2, 1, tzinfo=UTC), END, ["never seen", first.name])

    assert 0 < len(part.perpendicular_baseline_m) < len(whole.perpendicular_baseline_m)
    for day, baseline_m in part.perpendicular_baseline_m.items():
        assert baseline_m == whole.perpendicular_baseline_m[day]


def test_updates_are_found_whenever_they_were_acquired(sim, catalogue):
    whole = {g.name for g in catalogue.search(TRACK, BEGIN, END).granules}

    assert {g.name for g in catalogue.updated_since(TRACK, BEGIN)} == whole
    recent = catalogue.updated_since(TRACK, datetime(2024, 2, 10, tzinfo=UTC))
    assert 0 < len(recent) < len(whole)
    assert all(g.published_at >= datetime(2024, 2, 10, tzinfo=UTC) for g in recent)


def test_frames_are_searched_with_their_slip(catalogue):
    track = burst_track("ascending", "011_021697_IW3", bursts=(), frame=119, processor="INSAR_GAMMA")

    answer = catalogue.search(track, BEGIN, END)

    assert {g.frame for g in answer.granules} == {118}
    assert all(g.burst is None for g in answer.granules)


def test_many_pages_are_one_answer(catalogue, monkeypatch):
    whole = catalogue.search(TRACK, BEGIN, END)
    monkeypatch.setattr("asf_search.CMR.translate.CMR_PAGE_SIZE", 3)
    monkeypatch.setattr("asf_search.constants.INTERNAL.CMR_PAGE_SIZE", 3)

    assert catalogue.search(TRACK, BEGIN, END) == whole


def test_a_part_of_an_answer_is_never_used(sim, catalogue):
    sim.faults(cmr_incomplete=True)

    with pytest.raises(IncompleteAnswerError):
        catalogue.search(TRACK, BEGIN, END)


def test_a_granule_that_comes_twice_hides_another(monkeypatch, catalogue):
    search = asf_search.search

    def with_a_repeat(**question):
        results = search(**question)
        results[-1] = results[0]
        return results

    monkeypatch.setattr(asf_search, "search", with_a_repeat)
    with pytest.raises(IncompleteAnswerError, match="1 of them twice"):
        catalogue.search(TRACK, BEGIN, END)


@pytest.mark.parametrize("fault", ["cmr_bad_gateway", "cmr_unavailable"])
def test_a_catalogue_that_fails_is_asked_again_later(sim, catalogue, fault):
    sim.faults(**{fault: True})

    with pytest.raises(TryAgainError):
        catalogue.search(TRACK, BEGIN, END)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"<html>login</html>", TryAgainError),
        (200, b'{"hits": 1}', TryAgainError),
        (400, b'{"errors": ["no such parameter"]}', BadInputError),
        (401, b'{"errors": ["token"]}', StopAndAskError),
        (403, b"<html>no</html>", TryAgainError),
        (429, b'{"errors": ["slow down"]}', TryAgainError),
        (500, b'{"message": "no errors key"}', TryAgainError),
    ],
)
def test_errors_are_told_by_what_has_to_be_done(status, body, error):
    with answering(status, body, "application/json") as url, pytest.raises(error):
        AsfCatalogue(url).search(TRACK, BEGIN, END)


def test_a_catalogue_that_is_away_is_asked_again_later():
    with pytest.raises(TryAgainError, match="cannot be reached"):
        AsfCatalogue("http://127.0.0.1:9").search(TRACK, BEGIN, END)


def test_errors_are_reported_to_nobody_else(catalogue):
    assert asf_search.REPORT_ERRORS is False


@pytest.mark.real_data
def test_real_answers_of_the_catalogue_become_granules(real_data):
    """166 dates of S1A and S1B since 2014, and seven scenes."""
    from asf_search.search.search_generator import as_ASFProduct

    def read(name):
        items = json.loads((real_data / "cmr" / f"{name}.umm_json").read_text())["items"]
        return [as_ASFProduct(item, session=asf_search.ASFSession()) for item in items]

    bursts = read("s1_burst_stack_166")
    granules = [_granule(product) for product in bursts]
    assert {g.platform for g in granules} == {"S1A", "S1B"}
    assert len({g.date for g in granules}) == 166
    assert all(g.name[14:22] == f"{g.date:%Y%m%d}" for g in granules)

    track = burst_track("descending", "174_372326_IW3")
    baselines = _baselines_m(track, bursts, [])
    assert baselines[date(2014, 10, 17)] == 0
    assert None not in baselines.values()
    assert max(map(abs, baselines.values())) < 300

    scenes = [_granule(product) for product in read("s1_slc_stack_small")]
    assert {(g.frame, g.relative_orbit, g.polarisation) for g in scenes} == {(130, 33, "VV+VH")}
