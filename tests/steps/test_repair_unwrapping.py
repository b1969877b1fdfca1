"""The set of interferograms that the stack uses is a function of the set that was fetched, in any order and batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from sagwatch.adapters.database import models
from sagwatch.engine.interferogram import StoredInterferogram, read_attributes, read_layers
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.steps.repair_unwrapping import repair_unwrapping
from tests.engine.invented_ground import Invented
from tests.steps.stored_track import AS_OF, StoredTrack, store_track

PATCH = np.s_[8:13, 10:15]
#: Wrong by cycles: a long pair, a short one, two that touch, and the newest.
WRONG = {"pair02x04": 1, "pair06x07": -1, "pair09x11": 1, "pair10x12": 1, "pair12x13": 2}


def wrong_track(tmp_path, ledger, closure: str) -> StoredTrack:
    """An invented track in which some interferograms are off by whole cycles in a patch."""
    stored = store_track(tmp_path, ledger, 14, corrections={"unwrapping": {"closure": closure}})
    store, members = stored.invented.store, []
    for member in stored.members:
        cycles = WRONG.get(member.id)
        if cycles is None:
            members.append(member)
            continue
        path = store.interferogram_path(member.id)
        layers, attributes = read_layers(path), read_attributes(path)
        layers.phase_rad[PATCH] += np.float32(2 * np.pi * cycles)
        sha256 = store.write_interferogram(f"{member.id}off", layers, attributes)
        members.append(
            StoredInterferogram(
                member.reference, member.secondary, f"{member.id}off", sha256, member.perpendicular_baseline_m
            )
        )
    stored.invented = Invented(**{**vars(stored.invented), "members": tuple(members)})
    return stored


def treat(stored: StoredTrack) -> int:
    reference = ReferencePoint(*stored.invented.reference)
    return repair_unwrapping(
        stored.site, stored.track, stored.ledger, stored.invented.store, reference, stored.data, AS_OF
    )


def arrive(stored: StoredTrack, members) -> None:
    """New originals are accepted; what is there stays."""
    with stored.ledger.begin() as session:
        for member in members:
            session.add(
                models.Pair(
                    id=member.id,
                    track_id=stored.track.id,
                    reference_date=member.reference,
                    secondary_date=member.secondary,
                    why="neighbours",
                    planned_at=AS_OF,
                )
            )
            session.flush()
            path = stored.invented.store.interferogram_path(member.id).relative_to(stored.data)
            session.add(
                models.Interferogram(
                    id=member.id,
                    pair_id=member.id,
                    product_sha256=member.sha256,
                    config_sha256="c",
                    path=str(path),
                    file_sha256=member.sha256,
                    mean_coherence=0.6,
                    valid_fraction=0.9,
                    state="accepted",
                    made_at=AS_OF,
                )
            )


def used(stored: StoredTrack) -> dict[str, str]:
    """Id of what the stack uses, by pair."""
    return {one.pair_id: one.id for one in stored.ledger.revisions.accepted_interferograms(stored.track.id)}


def phase_of(stored: StoredTrack, pair_id: str) -> np.ndarray:
    return read_layers(stored.invented.store.interferogram_path(used(stored)[pair_id])).phase_rad


def seen(stored: StoredTrack, pairs: list[str]) -> np.ndarray:
    """Pixels of the patch where all of these pairs, none of them wrong, have data."""
    paths = [stored.invented.store.interferogram_path(pair) for pair in pairs]
    return np.all([np.isfinite(read_layers(path).phase_rad[PATCH]) for path in paths], axis=0)


def row(stored: StoredTrack, pair: str) -> dict:
    earlier, later = stored.dates[int(pair[4:6])], stored.dates[int(pair[7:9])]
    statement = text(
        "SELECT * FROM analyst.interferograms WHERE reference_date = :earlier AND secondary_date = :later "
        "AND state = 'accepted'"
    )
    with stored.ledger.begin() as session:
        return dict(session.execute(statement, {"earlier": earlier, "later": later}).mappings().one())


def test_a_wrong_interferogram_is_repaired_an_ambiguous_one_masked_and_both_are_written_down(
    tmp_path, ledger
):
    stored = wrong_track(tmp_path, ledger, "repair")
    before = {path: path.read_bytes() for path in stored.invented.store.interferograms.iterdir()}
    arrive(stored, stored.members)

    assert treat(stored) == len(stored.members)

    for pair, others in {
        "pair02x04": ["pair02x03", "pair03x04"],
        "pair06x07": ["pair07x08", "pair06x08"],
    }.items():
        store = stored.invented.store
        right, wrong = (
            read_layers(store.interferogram_path(name)).phase_rad[PATCH] for name in (pair, f"{pair}off")
        )
        mended = phase_of(stored, f"{pair}off")[PATCH]
        # A pixel that a gap keeps from having a triangle is seen by nobody.
        repaired = seen(stored, others) & np.isfinite(mended) & (mended != wrong)
        assert repaired.sum() >= 12
        np.testing.assert_allclose(mended[repaired], right[repaired], atol=1e-4)
        assert row(stored, pair)["repaired_pixels"] >= repaired.sum()
        # Incoherent pixels contradict themselves everywhere; the patch of 25 of 480 comes on top.
        assert (
            row(stored, pair)["contradicting_share"] > row(stored, "pair03x05")["contradicting_share"] + 0.02
        )
    # Of the newest nobody knows yet which one is wrong: the long pair is left out, the short one stays.
    visible = seen(stored, ["pair11x12", "pair11x13"]) & np.isfinite(phase_of(stored, "pair12x13off")[PATCH])
    assert visible.sum() >= 15
    assert np.isnan(phase_of(stored, "pair11x13")[PATCH][visible]).mean() >= 0.9
    assert row(stored, "pair11x13")["masked_pixels"] >= 0.9 * visible.sum()
    assert used(stored)["pair12x13off"] == "pair12x13off"
    assert all(path.read_bytes() == content for path, content in before.items())
    with ledger.begin() as session:
        original = session.get(models.Interferogram, "pair02x04off")
        assert original.state == "withdrawn"
        assert original.reason == f"unwrapping: {used(stored)['pair02x04off']} takes its place"


def test_a_second_run_changes_nothing_and_report_only_counts(tmp_path, ledger):
    stored = wrong_track(tmp_path, ledger, "report")
    arrive(stored, stored.members)

    assert treat(stored) == len(stored.members)
    assert used(stored) == {member.id: member.id for member in stored.members}
    assert row(stored, "pair02x04")["contradicting_share"] > 0.03
    assert row(stored, "pair04x05")["triangles"] == 2
    assert treat(stored) == 0


def test_another_rule_decides_again_and_the_originals_come_back(tmp_path, ledger):
    stored = wrong_track(tmp_path, ledger, "repair")
    arrive(stored, stored.members)
    treat(stored)
    repaired = used(stored)
    rules = stored.site.corrections.unwrapping

    def with_rule(closure: str) -> None:
        unwrapping = rules.model_copy(update={"closure": closure})
        corrections = stored.site.corrections.model_copy(update={"unwrapping": unwrapping})
        stored.site = stored.site.model_copy(update={"corrections": corrections})
        treat(stored)

    with_rule("report")
    assert used(stored) == {member.id: member.id for member in stored.members}
    with_rule("mask")
    visible = seen(stored, ["pair02x03", "pair03x04"])
    assert visible.sum() >= 15
    assert np.isnan(phase_of(stored, "pair02x04off")[PATCH][visible]).all()
    with_rule("repair")
    assert used(stored) == repaired


def test_the_step_solves_what_was_repaired(tmp_path, ledger):
    stored = wrong_track(tmp_path, ledger, "repair")
    arrive(stored, stored.members)

    manifest = stored.update()

    assert {member.id for member in manifest.members} == set(used(stored).values())
    assert set(used(stored).values()) != {member.id for member in stored.members}


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, str]]:
    return {}


@given(data=st.data())
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_order_and_batching_ends_with_the_same_interferograms(shared_track, expected, data):
    stored = shared_track
    with stored.ledger.begin() as session:
        session.query(models.Interferogram).delete()
        session.query(models.Pair).delete()
    order = data.draw(st.permutations(stored.members))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(order) - 1), max_size=5)))
    for start, stop in zip([0, *cuts], [*cuts, len(order)], strict=True):
        arrive(stored, order[start:stop])
        treat(stored)

    first = expected.setdefault("used", used(stored))

    assert used(stored) == first
    assert sum(one.startswith("pair") for one in first.values()) < len(stored.members) - 3
    assert treat(stored) == 0


@pytest.fixture
def shared_track(tmp_path, ledger) -> StoredTrack:
    return wrong_track(tmp_path, ledger, "repair")
