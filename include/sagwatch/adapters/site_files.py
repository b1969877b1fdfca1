"""Reads the site files. DAG files call this while Airflow parses them, so nothing heavy is imported here."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from sagwatch.adapters.mine_files import with_mine
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.site import Site, Track
from sagwatch.errors import SiteFileError

_SUFFIXES = (".yaml", ".yml")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe, and refuses a key that stands twice in one place: YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands here a second time", key_node.start_mark
                )
            seen.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def load_sites(folder: Path) -> tuple[dict[str, Site], list[SiteFileError]]:
    """Read every site file of a folder, but not of folders in it.

    Returns
    -------
    The good sites by name, and what is wrong with the other files: one broken file stops no other site.
    """
    if not folder.is_dir():
        return {}, [
            SiteFileError(
                f"{folder}: there is no such folder; set SAGWATCH_SITES to the folder of site files",
                file=folder,
            )
        ]
    sites: dict[str, Site] = {}
    files: dict[str, Path] = {}
    problems: list[SiteFileError] = []
    for file in sorted(p for p in folder.iterdir() if p.suffix in _SUFFIXES and not p.name.startswith(".")):
        try:
            site = read_site(file)
        except SiteFileError as problem:
            problems.append(problem)
            continue
        if site.name in files:
            # Which of the two is meant nobody can know, so neither runs.
            other = files[site.name]
            sites.pop(site.name, None)
            text = f"name: {other.name} describes {site.name!r} too; delete or rename one of the two"
            problems.append(SiteFileError(f"{file}: {text}", file=file))
        else:
            files[site.name] = file
            sites[site.name] = site
    return sites, problems


def read_site(file: Path) -> Site:
    """Read one site file.

    Raises
    ------
    SiteFileError
        The text names the file, every bad key, and what to do about it.
    """
    raw = _parse(file)
    if not isinstance(raw, dict):
        raise SiteFileError(
            f"{file}: must be a list of keys and values that begins with name: {file.stem}", file=file
        )
    try:
        site = Site.model_validate(raw)
    except ValidationError as problem:
        told = [_told(error) for error in problem.errors() if not _follows(error, problem.errors())]
        raise SiteFileError("\n".join(f"{file}: {line}" for line in told), file=file) from None
    if site.name != file.stem:
        raise SiteFileError(
            f"{file}: name: {site.name!r} must equal the file's name; "
            f"rename the file to {site.name}{file.suffix}, or write name: {file.stem}",
            file=file,
        )
    return with_mine(site, file.with_suffix(""))


def read_rules(file: Path) -> AlertRules:
    """Read a file of alert rules: what a site file says under `alerts`, on its own.

    Raises
    ------
    SiteFileError
        The text names the file, every bad key, and what to do about it.
    """
    raw = _parse(file)
    if not isinstance(raw, dict):
        raise SiteFileError(
            f"{file}: must be a list of keys and values, as levels_mm_yr: [-40, -100]", file=file
        )
    try:
        return AlertRules.model_validate(raw)
    except ValidationError as problem:
        errors = [{**error, "loc": ("alerts", *error["loc"])} for error in problem.errors()]
        told = [_told(error).removeprefix("alerts.") for error in errors if not _follows(error, errors)]
        raise SiteFileError("\n".join(f"{file}: {line}" for line in told), file=file) from None


def _parse(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise SiteFileError(f"{file}: {where}not YAML: {problem.problem}", file=file) from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise SiteFileError(f"{file}: not YAML: {problem}", file=file) from None
    except OSError as problem:
        raise SiteFileError(f"{file}: cannot be read: {problem.strerror}", file=file) from None
    except (ValueError, RecursionError) as problem:
        # An impossible date such as 2024-02-31, or a file that refers to itself.
        raise SiteFileError(f"{file}: not YAML: {problem}", file=file) from None


def _follows(error: Any, errors: Sequence[Any]) -> bool:
    """Whether an error is only the echo of another: a list is too short because its one entry is bad."""
    depth = len(error["loc"])
    return error["type"] == "too_short" and any(
        len(other["loc"]) > depth and other["loc"][:depth] == error["loc"] for other in errors
    )


def _told(error: Any) -> str:
    """One validation error as key path, complaint and remedy."""
    location: Sequence[str | int] = [part for part in error["loc"] if not _is_branch(part)]
    path = _key_path(location)
    kind = error["type"]
    if kind == "extra_forbidden":
        known = sorted(_fields(location[:-1]))
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else f"known keys here: {', '.join(known)}"
        return f"{path}: unknown key; {remedy}"
    if kind == "missing":
        return f"{path}: is missing; add it{_meaning(location)}"
    if kind in ("value_error", "assertion_error"):
        complaint = str(error["ctx"]["error"]) if "ctx" in error else error["msg"]
        return f"{path}: {complaint}" if path else complaint
    return f"{path}: {error['msg']}, found {_short(error['input'])}{_meaning(location)}"


def _is_branch(part: str | int) -> bool:
    """Pydantic puts names of types into the path of a union; they are no keys."""
    return isinstance(part, str) and (part.startswith(("function-", "tagged-")) or "[" in part)


def _key_path(location: Sequence[str | int]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _fields(location: Sequence[str | int]) -> dict[str, Any]:
    """Keys that are known at a place in the file."""
    model: type[BaseModel] | None = Site
    for part in location:
        if isinstance(part, str) and model is not None:
            model = _model_of(model.model_fields[part].annotation) if part in model.model_fields else None
    return {k: v for k, v in model.model_fields.items() if (model, k) != (Track, "site")} if model else {}


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_of(part))), None)


def _meaning(location: Sequence[str | int]) -> str:
    field = _fields(location[:-1]).get(str(location[-1])) if location else None
    return f" ({field.description.rstrip('.')})" if field is not None and field.description else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
