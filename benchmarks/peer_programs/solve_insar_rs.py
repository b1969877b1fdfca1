"""insar-rs's `invert_sbas` and, as we do, `temporal_coherence`; ``without_quality`` leaves the second out."""

import sys
from pathlib import Path

import insar_rs
import numpy as np
from problem import Problem, time_and_tell

problem = Problem(Path(sys.argv[1]))
quality_too = sys.argv[2:] != ["without_quality"]
pairs = problem.earlier, problem.later, problem.days, problem.wavelength_m


def solve() -> np.ndarray:
    series = insar_rs.invert_sbas(problem.phase, *pairs)
    if quality_too:
        insar_rs.temporal_coherence(problem.phase, series, *pairs)
    return series


time_and_tell(solve, series_m=np.asarray, temporal_coherence=quality_too)
