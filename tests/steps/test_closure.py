"""Triangles of interferograms that contradict each other."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from sagwatch.steps.closure import misclosed

DAYS = [date(2024, 1, 1), date(2024, 1, 13), date(2024, 1, 25), date(2024, 2, 6)]


@pytest.fixture
def stack(tmp_path):
    """Four acquisitions, each paired with the two next; one pair has a patch that is a cycle off."""
    rng = np.random.default_rng(1)
    epochs = rng.normal(0, 8, (4, 12, 10))
    members = []
    for i, j in ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3)):
        phase = epochs[j] - epochs[i] + rng.normal(0, 0.3, (12, 10)) + rng.uniform(-20, 20)
        if (i, j) == (1, 3):
            phase[2:5, 3:6] += 2 * np.pi
            phase[8, 8] = np.nan
        name = f"{i}{j}"
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["unwrapPhase"] = phase[None].astype(np.float32)
        members.append(SimpleNamespace(id=name, reference=DAYS[i], secondary=DAYS[j]))
    return SimpleNamespace(members=members, path=lambda member: tmp_path / f"{member.id}.h5")


def test_only_what_is_a_cycle_off_contradicts(stack):
    found = misclosed(stack, DAYS[3])

    truth = np.zeros((12, 10), bool)
    truth[2:5, 3:6] = True
    np.testing.assert_array_equal(found, truth)
    assert not misclosed(stack, DAYS[2]).any()


def test_without_a_triangle_nothing_is_known(stack):
    assert misclosed(stack, DAYS[1]) is None
