"""dolphin's `invert_stack`: ordinary least squares for displacements. It has no temporal coherence."""

import sys
from pathlib import Path

import jax
import numpy as np
from dolphin.timeseries import get_incidence_matrix, invert_stack
from problem import Problem, time_and_tell

problem = Problem(Path(sys.argv[1]))
design = get_incidence_matrix(list(zip(problem.earlier, problem.later, strict=True))).astype(np.float32)


def series_m(phase: np.ndarray) -> np.ndarray:
    first = np.zeros((1, *phase.shape[1:]), np.float32)
    return np.concatenate([first, phase]) * (-problem.wavelength_m / (4 * np.pi))


time_and_tell(
    lambda: np.asarray(invert_stack(design, problem.phase)[0]),
    series_m=series_m,
    temporal_coherence=False,
    devices=[str(device) for device in jax.devices()],
)
