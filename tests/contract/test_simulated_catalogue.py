"""The simulated CMR against the unmodified asf_search."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import asf_search
import pytest
import requests
from asf_search.baseline.calc import calculate_perpendicular_baselines

from sagwatch.simulation.running import RunningCloud, start
from sagwatch.simulation.scenario import read_scenario
from sagwatch.simulation.world import ScenarioWorld
from tests.simulation.catalogue_client import search_options
from tests.simulation.small_world import write_small_world

WHOLE = {"start": "2023-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}
BURST = {"fullBurstID": "011_021697_IW3", "polarization": "VV"}


@pytest.fixture(scope="module")
def scenario_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_small_world(tmp_path_factory.mktemp("scenario")))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, scenario_file: str) -> Iterator[RunningCloud]:
    """A small world long after its last acquisition."""
    with start(tmp_path_factory.mktemp("cloud"), scenario=scenario_file) as running:
        running.advance_to("2024-12-01T00:00:00Z")
        yield running


@pytest.fixture
def options(cloud: RunningCloud) -> Iterator[asf_search.ASFSearchOptions]:
    yield search_options(cloud.url)
    cloud.faults()


def found(options: asf_search.ASFSearchOptions, **query: object) -> list[str]:
    results = asf_search.search(opts=options, **query)
    results.raise_if_incomplete()
    return [product.properties["sceneName"] for product in results]


def test_a_burst_is_found_once_a_pass_and_twice_when_reprocessed(
    options: asf_search.ASFSearchOptions,
) -> None:
    names = found(options, **BURST, **WHOLE)

    days = [name.split("_")[3][:8] for name in names]
    rhythm = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=12 * n) for n in range(16) if n != 8]
    assert sorted(set(days)) == [f"{day:%Y%m%d}" for day in rhythm]
    assert [day for day in set(days) if days.count(day) == 2] == ["20240125"]
    first, second = (name for name in names if "_20240125T" in name)
    assert first[:-10] == second[:-10]
    assert first != second


def test_parsed_properties_are_those_of_a_real_burst(options: asf_search.ASFSearchOptions) -> None:
    (product,) = asf_search.search(
        opts=options, **BURST, start="2024-01-12T00:00:00Z", end="2024-01-14T00:00:00Z"
    )

    properties = product.properties
    assert properties["sceneName"] == properties["fileID"]
    assert properties["burst"]["fullBurstID"] == "011_021697_IW3"
    assert properties["burst"]["relativeBurstID"] == 21697
    assert properties["burst"]["subswath"] == "IW3"
    assert (properties["pathNumber"], properties["flightDirection"]) == (11, "ASCENDING")
    assert properties["polarization"] == "VV"
    assert properties["platform"] == "SENTINEL-1A"
    assert properties["url"].endswith("/IW3/VV/7.tiff")
    assert properties["additionalUrls"][0].endswith("/IW3/VV/7.xml")
    slc_suffix = properties["url"].split("/")[3][-4:]
    assert properties["sceneName"].endswith(f"_{slc_suffix}-BURST")
    assert properties["burst"]["azimuthTime"][:10] == "2024-01-13"


def test_only_published_granules_are_visible(tmp_path, scenario_file: str) -> None:
    with start(tmp_path, scenario=scenario_file) as young:
        options = search_options(young.url)
        assert found(options, **BURST, **WHOLE) == []
        young.advance_to("2024-01-02T06:30:00Z")
        assert found(options, **BURST, **WHOLE) == []
        young.advance_to("2024-01-02T06:40:00Z")
        assert [name.split("_")[3][:8] for name in found(options, **BURST, **WHOLE)] == ["20240101"]
        # The late date (number 5, 2024-03-01) stays away while a later one is there already.
        young.advance_to("2024-03-20T00:00:00Z")
        days = {name.split("_")[3][:8] for name in found(options, **BURST, **WHOLE)}
        assert "20240313" in days
        assert "20240301" not in days


def test_updated_since_finds_what_appeared_later(
    cloud: RunningCloud, options: asf_search.ASFSearchOptions
) -> None:
    names = found(options, **BURST, processingDate="2024-03-31T00:00:00Z", end="2024-03-10T00:00:00Z")

    assert [name.split("_")[3][:8] for name in names] == ["20240301"]


def test_perpendicular_baselines_are_those_of_the_scenario_and_one_is_unknown(
    options: asf_search.ASFSearchOptions, scenario_file: str
) -> None:
    truth_m = {
        granule.name: granule.baseline_m for granule in ScenarioWorld(read_scenario(scenario_file)).granules
    }
    stack = list(asf_search.search(opts=options, **BURST, **WHOLE))
    reference = stack[-1].properties["sceneName"]

    calculate_perpendicular_baselines(reference, stack)

    found_m = {p.properties["sceneName"]: p.properties["perpendicularBaseline"] for p in stack}
    without = {name.split("_")[3][:8] for name, baseline_m in found_m.items() if baseline_m is None}
    assert without == {"20240418"}
    stated_m = {name: baseline_m for name, baseline_m in found_m.items() if baseline_m is not None}
    for name, baseline_m in stated_m.items():
        assert baseline_m == pytest.approx(truth_m[name] - truth_m[reference], abs=2.0)
    assert max(map(abs, stated_m.values())) > 30


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"relativeOrbit": 11, "polarization": "VV", "dataset": "SLC-BURST"}, 32),
        ({"relativeOrbit": 11, "dataset": "SLC-BURST"}, 64),
        ({"flightDirection": "DESCENDING", "dataset": "SLC-BURST", "polarization": "VH"}, 10),
        ({"processingLevel": "SLC", "platform": "SENTINEL-1A", "asfFrame": 118}, 16),
        ({"processingLevel": "SLC", "platform": "SENTINEL-1B"}, 0),
        ({"fullBurstID": ["011_021697_IW3", "018_037368_IW2"], "polarization": "VV"}, 26),
        ({"dataset": "SLC-BURST", "intersectsWith": "POINT(110.815 37.416)", "polarization": "VV"}, 26),
        ({"dataset": "SLC-BURST", "intersectsWith": "POINT(10 50)"}, 0),
        (
            {
                "dataset": "SLC-BURST",
                "intersectsWith": "POLYGON((110.80 37.40,110.83 37.40,110.83 37.43,110.80 37.43,110.80 37.40))",
                "relativeOrbit": 18,
            },
            20,
        ),
    ],
)
def test_filters_find_what_they_name(options: asf_search.ASFSearchOptions, query: dict, count: int) -> None:
    assert len(found(options, **query, **WHOLE)) == count


def test_a_granule_is_found_by_its_name(options: asf_search.ASFSearchOptions) -> None:
    name = found(options, **BURST, **WHOLE)[3]

    assert [p.properties["sceneName"] for p in asf_search.product_search([name], opts=options)] == [name]
    assert [p.properties["sceneName"] for p in asf_search.granule_search([name], opts=options)] == [name]


def test_pages_add_up_to_the_whole(
    options: asf_search.ASFSearchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = found(options, dataset="SLC-BURST", **WHOLE)
    for module in (asf_search.constants.INTERNAL, asf_search.CMR.translate, asf_search.CMR.subquery):
        monkeypatch.setattr(module, "CMR_PAGE_SIZE", 7)

    assert found(options, dataset="SLC-BURST", **WHOLE) == whole
    assert len(whole) == len(set(whole)) == 84


def test_an_unknown_parameter_is_refused_as_cmr_does(cloud: RunningCloud) -> None:
    answer = requests.post(f"{cloud.url}/search/granules.umm_json", data={"colour": "red"}, timeout=10)

    assert answer.status_code == 400
    assert answer.json() == {"errors": ["Parameter [colour] was not recognized."]}


def test_an_incomplete_answer_is_noticed(cloud: RunningCloud, options: asf_search.ASFSearchOptions) -> None:
    cloud.faults(cmr_incomplete=True)

    results = asf_search.search(opts=options, **BURST, **WHOLE)

    assert not results.searchComplete


def test_the_html_502_of_cmr_escapes_as_a_json_error(
    cloud: RunningCloud, options: asf_search.ASFSearchOptions
) -> None:
    cloud.faults(cmr_bad_gateway=True)

    with pytest.raises(requests.exceptions.JSONDecodeError):
        asf_search.search(opts=options, **BURST, **WHOLE)


def test_the_timeline_lists_passes_in_the_order_of_appearance(cloud: RunningCloud) -> None:
    passes = cloud.timeline()

    visible = [one["visible"] for one in passes]
    assert visible == sorted(visible)
    assert {one["path"] for one in passes} == {11}
    assert [one["date"] for one in passes].index("2024-03-01") > [one["date"] for one in passes].index(
        "2024-03-25"
    )
    assert len(cloud.timeline("all")) == 25
