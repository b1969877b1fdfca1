"""An audit says aloud what is not MintPy's: in the ledger, in the analyst's view, in the status, and by failing."""

from dataclasses import replace
from datetime import timedelta

import h5py
import pytest
from sqlalchemy import text

from sagwatch.adapters.database.status import read_status
from sagwatch.domain.site import AuditRules
from sagwatch.engine.files import digest_of
from sagwatch.engine.manifest import MANIFEST, read_manifest, verify, write_manifest
from sagwatch.engine.mintpy_programs import Sample
from sagwatch.errors import BadRevisionError
from sagwatch.steps.audit_track import TOLERANCE_MM, audit_track, sample_of
from tests.steps.stored_track import AS_OF, StoredTrack, store_track


@pytest.fixture
def stored(tmp_path, ledger) -> StoredTrack:
    stored = store_track(tmp_path, ledger, n_epochs=12)
    stored.update(stored.members)
    stored.publish()
    return stored


def shift_an_epoch(stored: StoredTrack, metres: float) -> None:
    """A wrong number that every hash agrees with: what a fault of the solver would leave."""
    manifest = read_manifest(stored.newest)
    block = manifest.series[0]
    path = stored.newest.parent.parent / block.name
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file["timeseries"][5] += metres
    forged = replace(block, digest=digest_of(path))
    (stored.newest / MANIFEST).chmod(0o644)
    write_manifest(stored.newest, replace(manifest, series=(forged, *manifest.series[1:])))
    verify(stored.newest)


def audits(stored: StoredTrack) -> list[tuple]:
    with stored.ledger.begin() as session:
        return [
            tuple(row)
            for row in session.execute(
                text(
                    "SELECT equals_mintpy, revision_number, pixels, of_pixels, seed, displacement_mm, allowed_mm "
                    "FROM analyst.audits ORDER BY at"
                )
            )
        ]


def test_a_wrong_number_under_right_hashes_is_stored_shown_and_alarmed(stored):
    sample = Sample(60, 7)
    good = audit_track(stored.track, stored.ledger, stored.data, AS_OF, sample)
    assert good.problems == ()
    assert read_status(stored.ledger, "invented")[0].equals_mintpy is True

    shift_an_epoch(stored, 1e-4)
    later = AS_OF + timedelta(days=7)
    with pytest.raises(
        BadRevisionError, match=r"revision 1 differs from MintPy: displacement by up to 0\.100\d mm"
    ):
        audit_track(stored.track, stored.ledger, stored.data, later, sample)

    (before, after) = audits(stored)
    assert before[:2] == (True, 1)
    assert before[2] in (60, 61)
    assert before[3] > 200
    assert before[4] == 7
    assert before[5] < TOLERANCE_MM == before[6]
    assert after[:5] == (False, *before[1:5])
    assert after[5] == pytest.approx(0.1, abs=1e-3)
    with stored.ledger.begin() as session:
        severity = session.execute(
            text("SELECT severity FROM analyst.pipeline_events WHERE kind = 'audit' ORDER BY at")
        )
        assert [row[0] for row in severity] == ["info", "error"]
    status = read_status(stored.ledger, "invented")[0]
    assert (status.audited, status.equals_mintpy) == (later.date(), False)


def test_a_sample_is_the_sites_or_another_one_every_week():
    assert sample_of(AuditRules(), AS_OF) is None
    assert sample_of(AuditRules(pixels=500, seed=3), AS_OF) == Sample(500, 3)
    weekly = [sample_of(AuditRules(pixels=500), AS_OF + timedelta(days=7 * week)) for week in range(3)]
    assert len({sample.seed for sample in weekly}) == 3
    assert weekly[0] == sample_of(AuditRules(pixels=500), AS_OF + timedelta(hours=3))
