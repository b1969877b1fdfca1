"""Other solvers, each in an environment of its own under ``var/peers``, made on demand.

They get the unweighted inversion of complete pixels, which all of them can do, on one processor. Their answers are
compared with ours: the time of a wrong call says nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sagwatch.engine.network import InversionSettings
from sagwatch.engine.solve import Observations, Solution, solve

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(__file__).resolve().parent / "peer_programs"
#: dolphin's jax wants a rectangle; what does not fill its last row is left out.
COLUMNS = 100
INSTALL_SECONDS, RUN_SECONDS = 900, 180
_OURS_REPEATS = 5


class PeerAbsentError(Exception):
    """A peer cannot be installed or run here; the text says why."""


@dataclass(frozen=True)
class Peer:
    """A solver: ``installs`` are the words of pip, one call after the other; ``words`` go to its program."""

    name: str
    environment: str
    program: str
    installs: Callable[[], list[list[str]]]
    words: tuple[str, ...] = ()


def _insar_rs() -> list[list[str]]:
    return [["insar-rs==0.3.0", "numpy"]]


def _dolphin() -> list[list[str]]:
    """dolphin imports osgeo, which PyPI has as source only, to be built against the system's library."""
    return [
        ["numpy", "setuptools<81", "wheel"],
        ["--no-build-isolation", "--no-binary", "gdal", f"gdal=={_gdal_version()}"],
        ["dolphin==0.42.9", "jax==0.10.2", "jaxlib==0.10.2"],
    ]


def _gdal_version() -> str:
    if shutil.which("gdal-config") is None:
        raise PeerAbsentError(
            "it imports osgeo, and there is no gdal-config to build that with: "
            "install your system's GDAL for developers (Debian: libgdal-dev) and a C++ compiler, and run again"
        )
    done = subprocess.run(["gdal-config", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


PEERS = (
    Peer("insar_rs", "insar-rs", "solve_insar_rs.py", _insar_rs),
    Peer(
        "insar_rs_without_temporal_coherence",
        "insar-rs",
        "solve_insar_rs.py",
        _insar_rs,
        ("without_quality",),
    ),
    Peer("dolphin", "dolphin", "solve_dolphin.py", _dolphin),
)


def install_peers(say: Callable[[str], None]) -> dict[str, str]:
    """Make what is missing of the environments; return the reasons of those that are absent."""
    absent = {}
    for peer in PEERS:
        try:
            _python_of(peer, say)
        except PeerAbsentError as reason:
            absent[peer.name] = str(reason)
            say(f"{peer.name} is absent: {reason}")
    return absent


def measure_peers(
    observations: Observations, settings: InversionSettings, absent: dict[str, str], scratch: Path
) -> dict[str, dict[str, Any]]:
    """Seconds of each peer, and ours just before it, for the same pixels, and the difference of the answers."""
    some = _rectangle(observations)
    with tempfile.TemporaryDirectory(prefix="peers-", dir=scratch) as name:
        folder = Path(name)
        network = some.network
        words = {"earlier": network.earlier, "later": network.later, "days": network.days}
        lists = {key: [int(number) for number in values] for key, values in words.items()}
        (folder / "problem.json").write_text(json.dumps({**lists, "wavelength_m": settings.wavelength_m}))
        phase = some.phase_rad - some.reference_phase_rad[:, None]
        np.save(folder / "phase.npy", phase.reshape(network.n_pairs, -1, COLUMNS))
        return {
            peer.name: {"absent": absent[peer.name]}
            if peer.name in absent
            else _beside(peer, some, settings, folder)
            for peer in PEERS
        }


def _rectangle(observations: Observations) -> Observations:
    """The pixels without a gap, as many as fill whole rows."""
    phase = observations.phase_rad - observations.reference_phase_rad[:, None]
    complete = np.flatnonzero((np.isfinite(phase) & (phase != 0)).all(axis=0))
    complete = complete[: complete.size // COLUMNS * COLUMNS]
    return Observations(
        observations.network,
        np.ascontiguousarray(observations.phase_rad[:, complete]),
        np.ascontiguousarray(observations.coherence[:, complete]),
        observations.reference_phase_rad,
    )


def _beside(peer: Peer, some: Observations, settings: InversionSettings, folder: Path) -> dict[str, Any]:
    ours, solution = _our_seconds(some, settings)
    try:
        told = _run(peer, folder)
    except PeerAbsentError as reason:
        return {"absent": str(reason)}
    seconds = median(told["seconds_of_each"])
    return {
        "pixels": int(some.phase_rad.shape[1]),
        "seconds": seconds,
        "ours_seconds": ours,
        "speedup": seconds / ours,
        **told,
        "max_difference_mm": _difference_mm(solution, np.load(folder / "series.npy")),
    }


def _our_seconds(some: Observations, settings: InversionSettings) -> tuple[float, Solution]:
    seconds = []
    for _ in range(1 + _OURS_REPEATS):
        began = time.perf_counter()
        solution = solve(some, settings, threads=1)
        seconds.append(time.perf_counter() - began)
    return median(seconds[1:]), solution


def _difference_mm(solution: Solution, series_m: np.ndarray) -> float:
    theirs = series_m.reshape(series_m.shape[0], -1).astype(np.float64)
    return 1000 * float(np.abs(solution.los_m - theirs).max())


def _run(peer: Peer, folder: Path) -> dict[str, Any]:
    """Run a peer's program on one processor."""
    python = ROOT / "var" / "peers" / peer.environment / "bin" / "python"
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1"),
        "JAX_PLATFORMS": "cpu",
    }
    one = max(os.sched_getaffinity(0))
    _call(
        [str(python), str(PROGRAMS / peer.program), str(folder), *peer.words],
        RUN_SECONDS,
        env=environment,
        cwd=folder,
        preexec_fn=lambda: os.sched_setaffinity(0, {one}),  # jax has no other switch that binds
    )
    return json.loads((folder / "told.json").read_text())


def _python_of(peer: Peer, say: Callable[[str], None]) -> Path:
    """The peer's Python; its environment is made anew when the recipe has changed."""
    folder = ROOT / "var" / "peers" / peer.environment
    python, stamp = folder / "bin" / "python", folder / "recipe.json"
    recipe = peer.installs()
    if stamp.exists() and json.loads(stamp.read_text()) == recipe:
        return python
    say(f"making the environment of {peer.environment} ...")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _call([sys.executable, "-m", "venv", str(folder)], INSTALL_SECONDS)
    for words in recipe:
        _call([str(python), "-m", "pip", "install", "-q", *words], INSTALL_SECONDS)
    stamp.write_text(json.dumps(recipe))
    return python


def _call(command: Sequence[str], seconds: float, **options: Any) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds, **options)
    except subprocess.TimeoutExpired:
        raise PeerAbsentError(f"{' '.join(command[:4])} took longer than {seconds:.0f} s") from None
    except subprocess.CalledProcessError as problem:
        last = (problem.stderr or "").strip().splitlines()[-1:] or [f"it ended with {problem.returncode}"]
        raise PeerAbsentError(last[0]) from None
