"""Reads what a site's folder says about the mine: `<site>/assets.geojson` and `<site>/faces.geojson`.

The files are GeoJSON FeatureCollections in longitude and latitude. DAG files call this while Airflow parses them, so
nothing heavy is imported here.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from sagwatch.domain.mine_plan import Asset, Face
from sagwatch.domain.site import Site
from sagwatch.errors import SiteFileError

#: File names, and what a feature of each is.
FILES: Mapping[str, tuple[str, type[BaseModel]]] = {
    "assets.geojson": ("assets", Asset),
    "faces.geojson": ("faces", Face),
}
#: What a file may call its coordinates: WGS84, and China's frame, which is the same within a metre.
_LON_LAT = ("CRS84", ":4326", ":4490")
_MOST_OVERLAP = 0.1
_KINDS = ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon")


def with_mine(site: Site, folder: Path) -> Site:
    """The site with the assets and faces of its folder; as it is where there is no folder.

    Raises
    ------
    SiteFileError
        Names the file, the feature, the key and the remedy.
    """
    if not folder.is_dir():
        return site
    unknown = sorted(
        p.name for p in folder.iterdir() if p.suffix in (".geojson", ".json") and p.name not in FILES
    )
    if unknown:
        near = difflib.get_close_matches(unknown[0], FILES, n=1, cutoff=0.4)
        remedy = f"did you mean {near[0]}?" if near else f"known files: {', '.join(FILES)}"
        raise SiteFileError(f"{folder / unknown[0]}: unknown file; {remedy}", file=folder / unknown[0])
    changes: dict[str, Any] = {}
    for name, (key, model) in FILES.items():
        file = folder / name
        if file.is_file():
            changes[key] = tuple(_features(file, model, site))
    return site.model_copy(update=changes)


def _features(file: Path, model: type[BaseModel], site: Site) -> list[Any]:
    raw = _parse(file)
    if not isinstance(raw, dict) or raw.get("type") != "FeatureCollection":
        raise SiteFileError(f"{file}: type: must be a GeoJSON FeatureCollection", file=file)
    if not isinstance(raw.get("features"), list):
        raise SiteFileError(
            f"{file}: features: must be the list of features; write [] if there are none", file=file
        )
    if (crs := raw.get("crs")) is not None and not any(name in json.dumps(crs) for name in _LON_LAT):
        raise SiteFileError(
            f"{file}: crs: is {json.dumps(crs)}; export it in longitude and latitude on WGS84 (EPSG:4326)",
            file=file,
        )
    found: list[Any] = []
    for number, feature in enumerate(raw["features"]):
        one = _feature(file, number, feature, model)
        _inside(file, number, one, site)
        _refuse_worked_twice(file, number, one, found)
        if one.name in {other.name for other in found}:
            raise SiteFileError(
                f"{file}: features[{number}].properties.name: {one.name!r} stands here a second time; rename one",
                file,
            )
        found.append(one)
    return found


def _refuse_worked_twice(file: Path, number: int, one: Any, others: list[Any]) -> None:
    """No two faces work the same ground of one seam; how drawn edges overlap is tolerated."""
    for other in others:
        if not (isinstance(one, Face) and one.seam and one.seam == other.seam):
            continue
        share = one.shape.intersection(other.shape).area / min(one.shape.area, other.shape.area)
        if share > _MOST_OVERLAP:
            raise SiteFileError(
                f"{file}: features[{number}] ({one.name}).geometry: covers {share:.0%} of {other.name} in the same "
                f"seam {one.seam}; draw each face once, or name the seams apart",
                file=file,
            )


def _parse(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise SiteFileError(f"{file}: not GeoJSON: {problem}; export it again", file=file) from None


def _feature(file: Path, number: int, feature: Any, model: type[BaseModel]) -> Any:
    where = f"{file}: features[{number}]"
    if not isinstance(feature, dict) or not isinstance(feature.get("properties"), dict):
        raise SiteFileError(f"{where}: must be a Feature with properties that name it", file=file)
    geometry = feature.get("geometry")
    kinds = ("Polygon", "MultiPolygon") if model is Face else _KINDS
    if not isinstance(geometry, dict) or geometry.get("type") not in kinds:
        raise SiteFileError(f"{where}.geometry: must be one of {', '.join(kinds)}", file=file)
    try:
        one = model.model_validate({**feature["properties"], "geometry": geometry})
    except ValidationError as problem:
        lines = [_told(error, model) for error in problem.errors()]
        raise SiteFileError("\n".join(f"{where}.properties.{line}" for line in lines), file=file) from None
    return one


def _told(error: Any, model: type[BaseModel]) -> str:
    key = ".".join(map(str, error["loc"])) or "(all)"
    known = sorted(set(model.model_fields) - {"geometry"})
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        return f"{key}: unknown key; " + (
            f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        )
    if error["type"] == "missing":
        return f"{key}: is missing; add it"
    text = str(error["ctx"]["error"]) if "error" in error.get("ctx", {}) else error["msg"]
    return f"{key}: {text}"


def _inside(file: Path, number: int, one: Any, site: Site) -> None:
    """Refuse what has no valid shape, or what no track of the site can ever see."""
    where = f"{file}: features[{number}] ({one.name})"
    try:
        shape = one.shape
        valid = not shape.is_empty and shape.is_valid
    except Exception as problem:
        raise SiteFileError(f"{where}.geometry: cannot be read: {problem}", file=file) from problem
    if not valid:
        raise SiteFileError(
            f"{where}.geometry: is empty or crosses itself; draw it without crossings", file=file
        )
    if not any(track.grid.outline.intersects(shape) for track in site.tracks):
        raise SiteFileError(
            f"{where}.geometry: lies outside what the tracks of site {site.name} see, {_apart(site, shape)} from its "
            "boundary; the order is [longitude, latitude]: correct it, or take it out",
            file=file,
        )


def _apart(site: Site, shape: Any) -> str:
    return f"{float(site.polygon.distance(shape)):.2f}°"
