"""Settings from the environment, built when asked for and never at import."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_ROOT = Path(__file__).resolve().parents[2]


class PathSettings(BaseSettings):
    """Folders: ``SAGWATCH_SITES``, ``SAGWATCH_DATA``."""

    model_config = SettingsConfigDict(env_prefix="SAGWATCH_")

    sites: Path = Field(_ROOT / "include" / "sites", description="Folder of site files, one YAML file each.")
    data: Path = Field(
        _ROOT / "var" / "data", description="Folder of interferograms, revisions and downloads."
    )


class ProductSettings(BaseSettings):
    """Limits on what may come out of a product: ``SAGWATCH_PRODUCT_...``."""

    model_config = SettingsConfigDict(env_prefix="SAGWATCH_PRODUCT_")

    limit_bytes: int = Field(4 * 2**30, gt=0, description="Largest zip that is downloaded.")
    limit_members: int = Field(200, gt=0, description="Most members that a zip may have.")
    limit_unpacked_bytes: int = Field(8 * 2**30, gt=0, description="Most bytes that a zip may unpack to.")
    attempts: int = Field(3, ge=1, le=10, description="Downloads of one product before it is quarantined.")
