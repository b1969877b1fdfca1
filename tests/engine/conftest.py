"""One invented track for the tests that only look at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from sagwatch.engine.manifest import ReferencePoint, RevisionSettings
from tests.engine.invented_ground import Invented, invent_stack


@dataclass(frozen=True)
class Built:
    """An invented track and the revision made of it; nobody may change it."""

    invented: Invented
    revision: Path
    settings: RevisionSettings
    reference: ReferencePoint


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    invented = invent_stack(tmp_path_factory.mktemp("invented") / "track")
    settings = RevisionSettings(range_looks=20, azimuth_looks=4)
    reference = ReferencePoint(*invented.reference, "invented")
    revision = invented.store.build_revision(1, invented.members, settings, reference)
    return Built(invented, revision, settings, reference)
