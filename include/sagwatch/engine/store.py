"""The store of one track: where its interferograms, its geometry and its revisions lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sagwatch.domain.delay import StoredDelay
from sagwatch.domain.grid import Grid
from sagwatch.engine.geometry import Geometry, read_geometry, write_geometry
from sagwatch.engine.interferogram import Layers, StoredInterferogram, write_interferogram
from sagwatch.engine.manifest import NO_DELAYS, Manifest, ReferencePoint, RevisionSettings, verify
from sagwatch.engine.revision import Revision, build_revision, delete_revision, read_revision
from sagwatch.engine.stack import Stack, make_stack
from sagwatch.engine.window import Effort
from sagwatch.errors import BadInputError


@dataclass(frozen=True)
class TrackStore:
    """The folder ``<data>/<site>/<track>`` on the track's fixed grid.

    The folder may be moved or mounted elsewhere as a whole: nothing in it names a path outside.
    """

    folder: Path
    grid: Grid

    @property
    def interferograms(self) -> Path:
        return self.folder / "interferograms"

    @property
    def geometry_path(self) -> Path:
        return self.folder / "geometry" / "geometryGeo.h5"

    @property
    def revisions(self) -> Path:
        return self.folder / "revisions"

    def interferogram_path(self, interferogram_id: str) -> Path:
        return self.interferograms / f"{interferogram_id}.h5"

    def write_interferogram(
        self, interferogram_id: str, layers: Layers, attributes: Mapping[str, str]
    ) -> str:
        """Store an accepted interferogram; return the file's SHA-256. Storing it again changes nothing."""
        if layers.phase_rad.shape != self.grid.shape:
            raise BadInputError(
                f"interferogram {interferogram_id} has {layers.phase_rad.shape} pixels, "
                f"the track's grid {self.grid.shape}; clip it to the grid first"
            )
        return write_interferogram(self.interferogram_path(interferogram_id), layers, attributes)

    def write_geometry(self, geometry: Geometry, attributes: Mapping[str, str]) -> str:
        """Store the track's geometry; the first one stays for ever. Return the file's SHA-256."""
        if geometry.height_m.shape != self.grid.shape:
            raise BadInputError(
                f"geometry of {geometry.height_m.shape} pixels on a grid of {self.grid.shape}"
            )
        return write_geometry(self.geometry_path, geometry, attributes)

    def read_geometry(self) -> Geometry:
        return read_geometry(self.geometry_path)

    def stack(self, members: Sequence[StoredInterferogram]) -> Stack:
        """Put stored interferograms, in any order, into a stack."""
        return make_stack(self.interferograms, self.grid.shape, members)

    def build_revision(
        self,
        number: int,
        members: Sequence[StoredInterferogram],
        settings: RevisionSettings,
        reference: ReferencePoint,
        effort: Effort | None = None,
        *,
        from_scratch: bool = False,
        delays: Mapping[date, StoredDelay] = NO_DELAYS,
        closures: bool = False,
    ) -> Path:
        """Solve the interferograms and make the revision's folder; see `revision.build_revision`."""
        return build_revision(
            self.revisions,
            number,
            self.stack(members),
            self.grid,
            self.geometry_path,
            settings,
            reference,
            effort,
            from_scratch=from_scratch,
            delays=delays,
            closures=closures,
        )

    def read_revision(self, name: str) -> Revision:
        return read_revision(self.revisions / name)

    def verify(self, name: str) -> Manifest:
        return verify(self.revisions / name)

    def delete_revision(self, name: str) -> None:
        """Delete an old revision, and the blocks that no other one stands on; its interferograms stay."""
        delete_revision(self.revisions, name)
