"""One thread or many, a cache of compiled code or none: the same bits."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sagwatch.engine import kernel
from sagwatch.engine.network import InversionSettings
from sagwatch.engine.window import Checkpoint, Effort, WindowSolution, solve_from, solve_window
from sagwatch.errors import BadInputError
from tests.conftest import ROOT
from tests.engine.memory_track import MemoryTrack
from tests.engine.test_incremental import invent
from tests.engine.test_solve import WAVELENGTH_M, adversarial, irregular_days, make_network

PROGRAM = """
import sys
from tests.engine.test_same_bits import digest_of_a_history
sys.stdout.write(digest_of_a_history(int(sys.argv[1])))
"""


def digest(solution: WindowSolution) -> str:
    """Of every number that a solution holds, checkpoints included."""
    seen = hashlib.sha256()
    for name in solution.__dataclass_fields__:
        value = getattr(solution, name)
        if isinstance(value, np.ndarray):
            seen.update(np.ascontiguousarray(value).tobytes())
    for checkpoint in solution.checkpoints:
        seen.update(np.ascontiguousarray(checkpoint.floats).tobytes())
        seen.update(np.ascontiguousarray(checkpoint.counts).tobytes())
    return seen.hexdigest()


def digest_of_a_history(threads: int) -> str:
    """A batch and updates of torn pixels, float32 outside as in a revision."""
    observations = adversarial(make_network(irregular_days(40), 3), 1500)
    network = observations.network
    settings, effort = InversionSettings(WAVELENGTH_M, 41), Effort(block_epochs=4, threads=threads)

    def source(first_pair, pixels):
        some = slice(None) if pixels is None else pixels
        layers = observations.phase_rad, observations.coherence
        return tuple(np.ascontiguousarray(layer[first_pair:, some]) for layer in layers)

    solved = solve_from(
        network,
        observations.reference_phase_rad,
        source,
        (),
        settings,
        effort,
        observations.phase_rad.shape[1],
    )
    return digest(solved.newest)


def test_one_thread_and_many_give_the_same_bits_in_a_batch_and_in_updates():
    assert digest_of_a_history(1) == digest_of_a_history(2) == digest_of_a_history(7)

    def history(threads: int) -> MemoryTrack:
        track, pairs = invent(4, 30, 3, 0.2)
        track.effort = Effort(block_epochs=5, settling_pairs=7, threads=threads)
        for last in (24, 25, 27, 29):
            days = sorted({day for pair in pairs for day in pair})
            track.update(frozenset(pair for pair in pairs if pair[1] <= days[last]))
        return track

    one, many = history(1), history(5)
    assert one.last.newest.first > 0
    assert digest(one.quality) == digest(many.quality)
    np.testing.assert_array_equal(one.los_m, many.los_m)


@pytest.mark.slow
def test_with_and_without_a_cache_of_compiled_code_the_bits_are_the_same(tmp_path: Path):
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'include'}:{ROOT}",
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-c", PROGRAM, "2"]

    def run() -> str:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    assert not (tmp_path / "cache").exists()
    compiled = run()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nbc")}
    cached = run()

    assert kept
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nbc")} == kept
    assert compiled == cached == digest_of_a_history(1)


def test_without_its_sums_a_solution_is_the_same_and_what_they_would_tell_is_unknown():
    observations = adversarial(make_network(irregular_days(20), 3), 700)
    start = Checkpoint.empty(700)
    given = kernel.Given(
        observations.phase_rad,
        observations.coherence,
        np.asarray(observations.reference_phase_rad, np.float32),
        start.floats,
        start.counts,
    )

    def solved(emit=(), **how):
        settings, effort = InversionSettings(WAVELENGTH_M, 41), Effort(threads=1)
        return solve_window(observations.network, given, start, emit, settings, effort, **how)

    whole, bare = solved(), solved(keeps_sums=False)

    for name in ("mean_coherence", "line"):
        assert np.isfinite(getattr(whole, name)).any()
        assert np.isnan(getattr(bare, name)).all()
    for name in set(whole.__dataclass_fields__) - {"mean_coherence", "line", "first", "checkpoints"}:
        np.testing.assert_array_equal(getattr(whole, name), getattr(bare, name), err_msg=name)
    with pytest.raises(BadInputError, match="holds sums"):
        solved((8,), keeps_sums=False)
