"""Two-dimensional phase unwrapping with connected components, as a processor does it: nobody tells it the truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.restoration import unwrap_phase

UNWRAP_COHERENCE = 0.25
LEAST_COMPONENT_PIXELS = 30

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def unwrap(wrapped: Floats, coherence: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Unwrap where the coherence allows it; number the connected parts.

    Returns
    -------
    unwrapped : radians
        Congruent with ``wrapped`` everywhere. Ground outside any part takes the multiple of 2 pi of the nearest part.
    components : 0 = in no part, 1 = the largest part
        Parts are unwrapped independently: the multiple of 2 pi between two parts is unknown, as in real products.
    """
    components = _components(ndimage.uniform_filter(coherence, 3) >= UNWRAP_COHERENCE)
    inside = components > 0
    if not inside.any():
        return wrapped.copy(), components
    masked = np.ma.masked_array(wrapped, mask=~inside)
    unwrapped = np.asarray(unwrap_phase(masked, rng=0).filled(0.0))
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    neighbour = unwrapped[nearest[0], nearest[1]]
    cycles = np.round((np.where(inside, unwrapped, neighbour) - wrapped) / (2 * np.pi))
    return wrapped + 2 * np.pi * cycles, components


def _components(good: Bools) -> NDArray[np.intp]:
    labels, count = ndimage.label(good)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    order = [label for label in np.argsort(-sizes, kind="stable") if sizes[label] >= LEAST_COMPONENT_PIXELS]
    rank = np.zeros(count + 1, dtype=np.intp)
    rank[order] = np.arange(1, len(order) + 1)
    return rank[labels]
