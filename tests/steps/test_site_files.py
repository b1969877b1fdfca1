"""A site file is right, or its error says where and what to do; one broken file stops no other site."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sagwatch.adapters.site_files import load_sites, read_site
from sagwatch.errors import SiteFileError

ROOT = Path(__file__).resolve().parents[2]
SITES = ROOT / "include" / "sites"

GOOD = """
name: mine
title: A mine
boundary:
  type: Polygon
  coordinates: [[[110.8, 37.4], [110.83, 37.4], [110.83, 37.43], [110.8, 37.43], [110.8, 37.4]]]
start: 2024-01-01
tracks:
  - name: t011a
    relative_orbit: 11
    direction: ascending
    bursts: [011_021697_IW3]
    looks: 20x4
    grid: {epsg: 32649, west: 482320, north: 4142560, pixel_m: 80, columns: 30, rows: 38}
"""


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def changed(path: str, value: object) -> str:
    """The good file with one key set (or, with None, taken out)."""
    raw = yaml.safe_load(GOOD)
    *parents, last = path.split(".")
    place = raw
    for parent in parents:
        place = place[int(parent)] if parent.isdigit() else place.setdefault(parent, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    return yaml.safe_dump(raw)


def test_a_good_file_is_a_site(tmp_path):
    site = read_site(write(tmp_path, GOOD))

    assert site.name == "mine"
    assert site.track("t011a").id == "mine/t011a"
    assert site.network.max_days == 30


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("titel", "x", "titel: unknown key; did you mean title?"),
        ("network.neighbors", 3, "network.neighbours"),
        ("tracks.0.look", "5x1", "tracks[0].look: unknown key; did you mean looks?"),
        ("tracks.0.grid.pixelsize", 80, "tracks[0].grid.pixelsize: unknown key"),
        (
            "alerts.windows",
            [{"day": 3, "least_epochs": 8}],
            "alerts.windows[0].day: unknown key; did you mean days?",
        ),
        ("title", None, "title: is missing; add it"),
        ("tracks.0.grid.epsg", None, "tracks[0].grid.epsg: is missing; add it (Projected coordinate system"),
        ("network.max_days", 0, "network.max_days: Input should be greater than or equal to 1, found 0"),
        ("start", "yesterday", "start: 'yesterday' is no date; write it as 2024-01-31"),
        ("tracks.0.looks", "7x7", "tracks[0].looks: Input should be '20x4', '10x2' or '5x1', found '7x7'"),
        ("tracks.0.looks", "5x1", "looks 5x1 make pixels of 20 m, the grid says 80"),
        ("tracks.0.grid.west", 482321, "is not a whole multiple of the pixel of 80.0 m; use 482320"),
        ("tracks.0.bursts", ["11-21697"], "'11-21697' is not a full burst id; it reads like 011_021697_IW3"),
        ("tracks.0.name", "t012a", "name 't012a' should be 't011a'"),
        ("tracks.0.frame", 118, "name either bursts or a frame"),
        ("tracks", [], "tracks: "),
        ("tracks.0.grid.epsg", 4326, "tracks[0].grid.epsg: 4326 is no UTM zone on WGS84"),
        ("tracks.0.bursts", ["011_021697_IW3"] * 2, "tracks[0].bursts: 011_021697_IW3 stands here 2 times"),
        ("tracks.0.reference", {"latitude": 37.5, "longitude": 110.81}, "tracks[0]: reference: 37.50000 N"),
        ("tracks.0.grid.north", 1142560, "track t011a: no pixel of its grid lies inside the boundary"),
        ("tracks.0.grid.west", 8e12, "track t011a: no pixel of its grid lies inside the boundary"),
        ("tracks.0.grid.west", float("nan"), "tracks[0].grid.west: Input should be a finite number"),
        (
            "network.max_perpendicular_m",
            float("inf"),
            "network.max_perpendicular_m: Input should be a finite",
        ),
        ("schedule", "every tuesday", "schedule: 'every tuesday' is no cron line; five fields as"),
        ("contacts", [{"name": "Ann"}], "contact 'Ann' has neither an email nor slack"),
        ("contacts", [{"name": "Ann", "email": "a@b.org,c"}], "contacts[0].email: String should match"),
        ("alerts.levels_mm_yr", [40], "levels must be negative and go down"),
        (
            "alerts.levels_mm_yr",
            [-40, float("nan")],
            "alerts.levels_mm_yr[1]: Input should be a finite number",
        ),
        (
            "corrections",
            {"unwrapping": {"closure": "repare"}},
            "corrections.unwrapping.closure: Input should be 'off', 'report', 'mask' or 'repair', found 'repare'",
        ),
        (
            "corrections",
            {"unwrapping": {"repair_least_pixels": 0}},
            "corrections.unwrapping.repair_least_pixels: Input should be greater than or equal to 1, found 0",
        ),
        ("alerts.windows", [], "alerts.windows: Tuple should have at least 1 item"),
        ("end", "2023-01-01", "end 2023-01-01 is before start 2024-01-01"),
        (
            "boundary.coordinates",
            [[[110.8, 37.4], [110.83, 37.43], [110.83, 37.4], [110.8, 37.43], [110.8, 37.4]]],
            "draw it without crossings",
        ),
        (
            "boundary.coordinates",
            [[[37.4, 110.8], [37.43, 110.8], [37.43, 110.83], [37.4, 110.8]]],
            "[lon, lat]",
        ),
        ("boundary.coordinates", "here", "boundary: coordinates cannot be read"),
        ("boundary.type", "Point", "boundary: must be a GeoJSON object of type Polygon"),
        ("boundary", [1], "boundary: "),
        ("name", "other", "name: 'other' must equal the file's name; rename the file to other.yaml"),
        ("name", "Big Mine", "name: "),
    ],
)
def test_an_error_names_the_file_the_key_and_the_remedy(tmp_path, path, value, told):
    file = write(tmp_path, changed(path, value))

    with pytest.raises(SiteFileError) as raised:
        read_site(file)

    text = str(raised.value)
    assert text.startswith(f"{file}: ")
    if path == "network.neighbors":
        assert "did you mean neighbours?" in text
    else:
        assert told in text


def test_closures_can_be_switched_off_without_quotes(tmp_path):
    site = read_site(write(tmp_path, GOOD + "corrections: {unwrapping: {closure: off}}\n"))

    assert site.corrections.unwrapping.closure == "off"


def test_all_errors_of_a_file_are_told_at_once(tmp_path):
    file = write(
        tmp_path, GOOD.replace("title: A mine", "titel: A mine").replace("looks: 20x4", "looks: 1x1")
    )

    with pytest.raises(SiteFileError) as raised:
        read_site(file)

    lines = str(raised.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{file}: ") for line in lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: mine\n  title: [", "line 2"),
        (
            "name: mine\ntitle: a\ntitle: b\n",
            "line 3, column 1: not YAML: key 'title' stands here a second time",
        ),
        ("", "must be a list of keys and values that begins with name: mine"),
        ("- a\n- b\n", "must be a list of keys and values"),
        ("name: !!python/object/apply:os.system ['true']", "not YAML"),
        ("start: 2024-02-31", "not YAML: day is out of range"),
    ],
)
def test_broken_yaml_says_where(tmp_path, text, told):
    with pytest.raises(SiteFileError) as raised:
        read_site(write(tmp_path, text))

    assert told in str(raised.value)


def test_bytes_that_are_no_text_are_told(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"\xff\xfe\x00name")

    with pytest.raises(SiteFileError, match="not YAML"):
        read_site(file)


def test_one_broken_file_stops_no_other_site(tmp_path):
    write(tmp_path, GOOD)
    broken = write(tmp_path, "name: [", "broken.yaml")
    write(tmp_path, "nothing of ours", "notes.txt")

    sites, problems = load_sites(tmp_path)

    assert set(sites) == {"mine"}
    assert [problem.file for problem in problems] == [broken]


def test_two_files_of_one_site_run_neither(tmp_path):
    write(tmp_path, GOOD)
    write(tmp_path, GOOD, "mine.yml")

    sites, problems = load_sites(tmp_path)

    assert sites == {}
    assert len(problems) == 1
    assert "mine.yaml describes 'mine' too" in str(problems[0])


def test_a_missing_folder_is_told(tmp_path):
    sites, [problem] = load_sites(tmp_path / "nowhere")

    assert sites == {}
    assert "SAGWATCH_SITES" in str(problem)


def test_the_sites_that_we_ship_are_good():
    for folder, names in ((SITES, {"shaqu"}), (SITES / "demonstration", {"shaqu", "mexico_city"})):
        sites, problems = load_sites(folder)
        assert problems == []
        assert set(sites) == names


def test_the_shaqu_site_has_the_studys_settings():
    site = load_sites(SITES)[0]["shaqu"]

    assert [(t.name, t.bursts, t.processor, t.looks) for t in site.tracks] == [
        ("t011a", ("011_021697_IW3",), "INSAR_ISCE_MULTI_BURST", "5x1"),
        ("t018d", ("018_037368_IW2",), "INSAR_ISCE_MULTI_BURST", "5x1"),
    ]
    assert (site.network.max_days, site.network.max_perpendicular_m) == (30, 300)
    assert (site.coherence.least_mean, site.inversion.weight) == (0.1, "var")


def test_reading_sites_imports_nothing_heavy():
    """DAG files read sites while Airflow parses them."""
    program = (
        "import sys; from pathlib import Path; from sagwatch.adapters.site_files import load_sites;"
        f"assert load_sites(Path({str(SITES)!r}))[0];"
        "print([m for m in ('asf_search', 'hyp3_sdk', 'rasterio', 'h5py', 'sqlalchemy', 'scipy', 'numba', 'requests')"
        " if m in sys.modules])"
    )
    path = {"PYTHONPATH": str(ROOT / "include")}

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=path, check=True
    )

    assert done.stdout.strip() == "[]"
