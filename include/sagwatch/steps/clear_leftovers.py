"""Remove what killed processes left half made on the disk."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

from sagwatch.engine.files import ASIDE

log = logging.getLogger(__name__)

#: Nothing of ours takes longer to write; what is younger may belong to a live process.
OLD_ENOUGH = timedelta(days=1)


def clear_leftovers(data: Path, now: datetime) -> list[Path]:
    """Delete temporary files and folders older than a day that no process holds; return what is gone.

    Parameters
    ----------
    now : the machine's time, because files have the machine's time, whatever time the cloud tells.
    """
    limit = (now - OLD_ENOUGH).timestamp()
    half_made = [*data.glob(f"*/*/*/{ASIDE}*"), *data.glob("incoming/*")]
    removed = [path for path in sorted(half_made) if _is_old(path, limit) and _remove(path)]
    log.info("%d leftovers of killed processes removed", len(removed))
    return removed


def _is_old(path: Path, limit: float) -> bool:
    try:
        return path.stat().st_mtime < limit
    except FileNotFoundError:  # its process has finished meanwhile
        return False


def _remove(path: Path) -> bool:
    """Delete a file or a folder, unless a live process has locked it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except BlockingIOError:
        log.info("%s is in use and stays", path)
        return False
    finally:
        os.close(descriptor)
    log.info("%s removed", path)
    return True
