"""Rule files and mine plans: what is wrong is refused by file, key and remedy."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from sagwatch.adapters.mine_files import with_mine
from sagwatch.adapters.site_files import read_rules, read_site
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.rules import rules_sha256
from sagwatch.domain.site import Site
from sagwatch.errors import SiteFileError
from tests.database.published import make_site


@pytest.mark.parametrize(
    ("code", "refused"),
    [("OGC:1.3:CRS84", False), ("EPSG::4490", False), ("EPSG::32649", True), ("EPSG::4610", True)],
)
def test_a_mine_plan_in_other_coordinates_is_refused_by_their_name(code, refused, tmp_path):
    """Some of them, as EPSG:4610 (Xian 1980), are degrees too, a hundred metres off."""
    crs = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{code}"}}
    content = {"crs": crs, "features": [feature(AREA, name="x", begin="2024-01-01")]}
    (tmp_path / "faces.geojson").write_text(json.dumps({"type": "FeatureCollection", **content}))

    with pytest.raises(SiteFileError, match="crs: is") if refused else nullcontext():
        with_mine(make_site(rows=100, columns=100), tmp_path)


def test_faces_of_different_seams_may_lie_over_each_other(tmp_path):
    write(
        tmp_path,
        "faces.geojson",
        *(feature(AREA, name=f"on {seam}", seam=seam, begin="2024-01-01") for seam in ("4", "5", "")),
    )

    assert len(with_mine(make_site(rows=100, columns=100), tmp_path).faces) == 3


ROOT = Path(__file__).resolve().parents[2]
POINT = {"type": "Point", "coordinates": [110.8, 37.4]}
AREA = {"type": "Polygon", "coordinates": [[[110.8, 37.4], [110.81, 37.4], [110.81, 37.41], [110.8, 37.4]]]}


def refused(text: str, tmp_path: Path) -> str:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    with pytest.raises(SiteFileError) as told:
        read_rules(file)
    assert str(file) in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        (
            "levels_mm_yr: [40, 100]",
            "levels_mm_yr",
            "must be negative and go down, as [-40, -100, -300, -600]",
        ),
        ("levels_mm_yr: [-100, -40]", "levels_mm_yr", "go down"),
        ("levels_mm_yr: [-40, -40]", "levels_mm_yr", "go down"),
        ("least_pixel: 9", "least_pixel", "did you mean least_pixels?"),
        ("blind: {lost_shar: 0.2}", "blind.lost_shar", "did you mean lost_share?"),
        ("displacement: {levels_mm: [10]}", "displacement.levels_mm", "must be negative"),
        ("trend: {tell: shout}", "trend.tell", "'page', 'digest' or 'off'"),
        ("tilt: {preset: strict}", "tilt.preset", "china_brick_concrete"),
        ("zones: [{zone: abcdef12, levels_mm_yr: [-20]}]", "zones[0].why", "add it"),
        (
            "zones: [{zone: abcdef, why: a}, {zone: abcdef12, why: b}]",
            "zones: abcdef and abcdef12",
            "write longer ids",
        ),
        ("windows: []\nwindows: []", "windows", "a second time"),
        ("windows: [{days: 30, least_epochs: 300}]", "windows[0]: least_epochs", "ask for 6 at most"),
        (
            "windows: [{days: 150, least_epochs: 8}, {days: 150, least_epochs: 9}]",
            "windows: two windows have 150 days",
            "take one out",
        ),
        ("- 1", "must be a list of keys", "levels_mm_yr: [-40, -100]"),
        ("levels_mm_yr: [-40", "not YAML", ""),
    ],
)
def test_a_bad_rule_file_is_refused_by_key_and_remedy(text, key, remedy, tmp_path):
    told = refused(text, tmp_path)

    assert key in told
    assert remedy in told


def test_a_good_rule_file_is_the_rules_and_any_change_is_another_version(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("levels_mm_yr: [-30, -90]\ntilt: {preset: poland_mining_area}\n")

    rules = read_rules(file)

    assert rules.levels_mm_yr == (-30, -90)
    assert rules.tilt.preset == "poland_mining_area"
    assert rules_sha256(rules) != rules_sha256(AlertRules())
    assert AlertRules().tilt.preset is None, "no preset is silently on"


def test_a_rule_can_be_switched_off_without_quotes(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("trend: {tell: off}\nnew_zone: {inside: 'off'}\n")

    assert read_rules(file).trend.tell == "off"
    assert read_rules(file).new_zone.inside == "off"


@pytest.mark.parametrize("alerts", [{"least_pixels": 100}, {"least_area_m2": 1e12}])
def test_an_area_larger_than_the_track_is_refused_as_nothing_would_ever_be_told(alerts):
    raw = make_site(rows=9, columns=11).model_dump(mode="json")

    with pytest.raises(ValidationError, match=r"track .* has 99 pixels, fewer than .* lower them"):
        Site.model_validate({**raw, "alerts": alerts})


def test_exceptions_of_a_zone_leave_the_other_zones_alone():
    rules = AlertRules(zones=({"zone": "abcdef12", "levels_mm_yr": (-20, -50), "why": "school above"},))

    assert rules.of_zone("abcdef1234567890").levels_mm_yr == (-20, -50)
    assert rules.of_zone("abcdef1234567890").deadband_mm_yr == rules.deadband_mm_yr
    assert rules.of_zone("fedcba1234567890") is rules


def write(folder: Path, name: str, *features: dict) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))


def feature(geometry: dict, **properties: object) -> dict:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def test_the_mine_plan_is_read_from_the_folder_beside_the_site_file(tmp_path):
    folder = tmp_path / "anyang"
    write(folder, "assets.geojson", feature(POINT, name="Shaft", kind="shaft"))
    write(folder, "faces.geojson", feature(AREA, name="101", begin="2024-01-01", advance_deg=30))

    site = with_mine(make_site(rows=100, columns=100), folder)

    assert [asset.name for asset in site.assets] == ["Shaft"]
    assert site.faces[0].begin == date(2024, 1, 1)
    assert with_mine(make_site(), tmp_path / "nowhere") == make_site()


@pytest.mark.parametrize(
    ("name", "features", "key", "remedy"),
    [
        (
            "assets.geojson",
            [feature({**POINT, "coordinates": [37.4, 110.8]}, name="x")],
            "(x).geometry",
            "[longitude",
        ),
        (
            "assets.geojson",
            [feature({**POINT, "coordinates": [110.90, 37.40]}, name="x")],
            "outside what the tracks of site anyang see",
            "correct it, or take it out",
        ),
        ("assets.geojson", [feature(POINT, nam="x")], "nam: unknown key", "did you mean name?"),
        ("assets.geojson", [feature(POINT)], "name: is missing", "add it"),
        ("assets.geojson", [feature(POINT, name="x"), feature(POINT, name="x")], "features[1]", "rename one"),
        ("faces.geojson", [feature(POINT, name="x", begin="2024-01-01")], "geometry", "Polygon"),
        (
            "faces.geojson",
            [feature(AREA, name="x", begin="2024-01-01", end="2023-01-01")],
            "(all)",
            "before it begins",
        ),
        (
            "faces.geojson",
            [feature(AREA, name="x", begin="2024-01-01", advance_deg=400)],
            "advance_deg",
            "360",
        ),
        ("faces.geojson", [feature(AREA, name="x", begin="0024-01-01")], "begin", "1900-01-01"),
        ("faces.geojson", [feature(AREA, name="x", begin="0")], "begin", "write it as 2024-01-31"),
        ("faces.geojson", [feature(AREA, name="x", begin=1704067200)], "begin", "write it as 2024-01-31"),
        (
            "faces.geojson",
            [feature(AREA, name=name, seam="5", begin="2024-01-01") for name in "xy"],
            "features[1] (y).geometry: covers 100% of x",
            "name the seams apart",
        ),
        ("asets.geojson", [], "unknown file", "did you mean assets.geojson?"),
    ],
)
def test_a_bad_mine_plan_is_refused_by_feature_key_and_remedy(name, features, key, remedy, tmp_path):
    folder = tmp_path / "anyang"
    write(folder, name, *features)

    with pytest.raises(SiteFileError) as told:
        with_mine(make_site(rows=100, columns=100), folder)

    assert str(folder / name) in str(told.value)
    assert key in str(told.value)
    assert remedy in str(told.value)


@pytest.mark.parametrize("content", [{}, {"featres": []}, {"features": 5}])
def test_a_mine_plan_without_its_list_of_features_is_refused_and_not_taken_for_an_empty_one(
    content, tmp_path
):
    (tmp_path / "faces.geojson").write_text(json.dumps({"type": "FeatureCollection", **content}))

    with pytest.raises(SiteFileError, match=r"faces\.geojson: features: must be the list"):
        with_mine(make_site(), tmp_path)


def test_the_demonstration_has_an_invented_mine_plan_that_says_so():
    site = read_site(ROOT / "include" / "sites" / "demonstration" / "shaqu.yaml")

    assert [face.name[:6] for face in site.faces] == ["Face A", "Face B", "Face C"]
    assert all("invented" in thing.name for thing in (*site.faces, *site.assets))
    assert yaml.safe_load((ROOT / "include/sites/demonstration/shaqu.yaml").read_text())["name"] == site.name
