"""`python -m tests.faults`: the long kill loop."""

import sys

from tests.faults.kill_loop import main

if __name__ == "__main__":
    sys.exit(main())
