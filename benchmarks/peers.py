"""Other solvers, each in an environment of its own under ``var/peers``, made on demand."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from sagwatch.engine.manifest import ReferencePoint, RevisionSettings
from sagwatch.engine.solve import Observations, solve
from sagwatch.engine.stack import Stack
from sagwatch.engine.weights import Weight

ROOT = Path(__file__).resolve().parents[1]
PIXELS = 10_000
INSTALL_SECONDS, RUN_SECONDS = 300, 180

# Each reads data.npz (design (pairs, epochs - 1) of positions, phase (pairs, pixels), days), solves, prints seconds.
SCRIPTS = {
    "dolphin": (
        ["dolphin", "jax"],
        """
import time, numpy as np
from dolphin.timeseries import invert_stack
data = np.load("data.npz")
design, phase = data["design"], data["phase"].reshape(data["phase"].shape[0], 100, -1)
np.asarray(invert_stack(design, phase)[0])
began = time.perf_counter()
np.asarray(invert_stack(design, phase)[0])
print(time.perf_counter() - began)
""",
    ),
    "insar-rs": (
        ["insar-rs"],
        """
import time, numpy as np
import insar_rs
data = np.load("data.npz")
invert = insar_rs.invert_network
began = time.perf_counter()
invert(data["phase"], data["earlier"], data["later"], data["days"])
print(time.perf_counter() - began)
""",
    ),
}


def peer_seconds(stack: Stack, reference: ReferencePoint) -> dict[str, dict[str, Any]]:
    """Seconds of each peer, and ours, for the unweighted inversion of the same complete pixels, one thread."""
    phase, coherence = stack.read("unwrapPhase", slice(None)), stack.read("coherence", slice(None))
    complete = np.flatnonzero(np.isfinite(phase).all(axis=0))[:PIXELS]
    phase, coherence = np.ascontiguousarray(phase[:, complete]), np.ascontiguousarray(coherence[:, complete])
    at = stack.reference_phase(reference.row, reference.column)
    settings = RevisionSettings(20, 4, weight=Weight.NONE).inversion
    observations = Observations(stack.network, phase, coherence, at)
    solve(observations, settings, threads=1)
    began = time.perf_counter()
    solve(observations, settings, threads=1)
    ours = time.perf_counter() - began
    network = stack.network
    design = np.zeros((network.n_pairs, network.n_epochs), np.float32)
    rows = np.arange(network.n_pairs)
    design[rows, network.earlier], design[rows, network.later] = -1, 1
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as folder:
        np.savez(
            Path(folder) / "data.npz",
            design=design[:, 1:],
            phase=phase - at[:, None],
            earlier=network.earlier,
            later=network.later,
            days=network.days,
        )
        for name in SCRIPTS:
            found[name] = {"ours_seconds": ours, "pixels": int(complete.size), **_run(name, Path(folder))}
    return found


def _run(name: str, folder: Path) -> dict[str, Any]:
    packages, script = SCRIPTS[name]
    environment = ROOT / "var" / "peers" / name
    python = environment / "bin" / "python"
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    threads |= {
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
        "HOME": str(folder),
    }
    try:
        if not (environment / "installed").exists():
            subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, capture_output=True)
            install = [str(python), "-m", "pip", "install", "-q", *packages]
            subprocess.run(install, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
            (environment / "installed").touch()
        done = subprocess.run(
            [str(python), "-c", script],
            cwd=folder,
            env=threads | {"PATH": "/usr/bin:/bin"},
            check=True,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
        )
        return {"seconds": float(done.stdout.splitlines()[-1])}
    except subprocess.TimeoutExpired as problem:
        return {"absent": f"took longer than {problem.timeout:.0f} s"}
    except subprocess.CalledProcessError as problem:
        said = (
            (problem.stderr or b"") if isinstance(problem.stderr, bytes) else (problem.stderr or "").encode()
        )
        return {"absent": said.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]}
