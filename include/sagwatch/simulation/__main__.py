"""``python -m sagwatch.simulation``: run the simulated cloud until it is stopped."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import datetime
from pathlib import Path

from .running import serve
from .scenario import ScenarioError


def main() -> int:
    """Parse the command line and serve; every refusal is one line."""
    parser = argparse.ArgumentParser(prog="python -m sagwatch.simulation", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="where clock, jobs, messages and products are kept"
    )
    parser.add_argument("--port", type=int, required=True, help="HTTP port; 0 chooses a free one")
    parser.add_argument("--smtp-port", type=int, required=True, help="SMTP port; 0 chooses a free one")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (loopback only, if you are wise)"
    )
    parser.add_argument("--products", type=Path, help="replay this folder of existing HyP3 zips")
    parser.add_argument("--scenario", default="shaqu", help="name of a shipped scenario or a YAML file")
    parser.add_argument(
        "--start", type=datetime.fromisoformat, help="first time of the clock in a new folder"
    )
    parser.add_argument("--job-seconds", type=float, help="wall time of a job instead of the scenario's")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        serve(options)
    except (ScenarioError, ValueError, OSError) as error:
        sys.stderr.write(f"simulated cloud: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
