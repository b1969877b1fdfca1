"""How MintPy's own programs are run: in a process of their own, with one thread, a home of their own, on a copy."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import h5py

from sagwatch.engine.interferogram import open_hdf5
from sagwatch.errors import SagwatchError

_PROGRAM_SECONDS = 6 * 3600
_LAST_LINES = 15
_INCLUDE = Path(__file__).resolve().parents[2]


class MintPyError(SagwatchError):
    """One of MintPy's programs failed; the text ends with its last lines."""


def run_program(
    name: str, arguments: Sequence[str], folder: Path, *, seconds: float = _PROGRAM_SECONDS
) -> str:
    """Run one of MintPy's programs, for example ``view``, in a folder; return what it printed.

    Raises
    ------
    MintPyError
        It failed, or took longer than ``seconds``.
    """
    return run_module(f"mintpy.cli.{name.removesuffix('.py')}", arguments, folder, seconds=seconds)


def run_module(
    module: str, arguments: Sequence[str], folder: Path, *, seconds: float = _PROGRAM_SECONDS
) -> str:
    """Run a module as MintPy's programs are run (alone, one thread, without Airflow); return what it printed.

    Raises
    ------
    MintPyError
        It failed, or took longer than ``seconds``.
    """
    name = module.rpartition(".")[2]
    with tempfile.TemporaryDirectory(prefix="sagwatch-mintpy-") as home:
        try:
            done = subprocess.run(
                [sys.executable, "-m", module, *arguments],
                cwd=folder,
                env=_environment(home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MintPyError(f"{name} did not end within {seconds:.0f} s in {folder}") from None
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-_LAST_LINES:])
        raise MintPyError(
            f"{name} {' '.join(arguments)} failed with code {done.returncode} in {folder}:\n{last}"
        )
    return done.stdout


def _environment(home: str) -> dict[str, str]:
    """Only what a program needs; more threads make MintPy slower, and its own limit does not bind."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "TZ") if key in os.environ}
    return kept | {
        "HOME": home,
        "PYTHONPATH": str(_INCLUDE),
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": home,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def copy_plainly(source: Path, target: Path, layers: Sequence[str]) -> None:
    """Copy a file with virtual layers to one that holds their pixels."""
    with open_hdf5(source) as virtual, h5py.File(target, "w") as plain:
        for name in virtual:
            if name not in layers:
                plain[name] = virtual[name][:]
                continue
            layer = virtual[name]
            maxshape = (None, *layer.shape[1:])
            copy = plain.create_dataset(name, layer.shape, layer.dtype, maxshape=maxshape, chunks=True)
            for i in range(layer.shape[0]):
                copy[i] = layer[i]
        for key, value in virtual.attrs.items():
            plain.attrs[key] = value
