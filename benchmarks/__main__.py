"""`python -m benchmarks --json FILE`: what `make bench-run` calls."""

import sys

from benchmarks.run import main

if __name__ == "__main__":
    sys.exit(main())
