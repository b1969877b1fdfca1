"""A few kills of an update; `make kill-update` makes fifty."""

import pytest

from tests.faults.kill_update import run


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_revision(tmp_path):
    found = run(4, seed=3, folder=tmp_path)

    assert found["old"] + found["new"] == 4
    assert found["old"] > 0
    assert found["right answers after"] == 1
