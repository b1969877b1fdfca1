"""The rooms import one way only, and the code is formatted and typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["lint-imports", "--no-cache"],
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
    ],
    ids=["imports", "ruff", "format", "mypy"],
)
def test_the_code_keeps_its_own_rules(command, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "include"), "MYPY_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
