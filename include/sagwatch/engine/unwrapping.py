"""Whole cycles between the connected components of one interferogram: MintPy's bridging.

An unwrapper solves each connected component by itself, so the multiple of 2 pi between two of them is unknown. Bridging
joins them where they are nearest (Yunjun et al. 2019, doi:10.1016/j.cageo.2019.104331, section 3.1). The arithmetic is
MintPy's own (`mintpy.objects.conncomp`), with the defaults of its program `unwrap_error_bridging.py`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.interferogram import Layers

#: MintPy's defaults: smallest component (at most 0.3 % of the grid), half width of the windows at a bridge's ends.
_LEAST_PIXELS = 2.5e3
_WINDOW_PIXELS = 50
#: On smaller grids the windows, 5 % of a side at most, are empty.
_LEAST_SIDE = 20
_CYCLE = 2 * np.pi


@dataclass(frozen=True)
class Bridged:
    """An interferogram whose components are joined.

    ``components`` counts those that were joined, ``pixels`` what was changed, ``cycles`` has the whole cycles that were
    added to each changed component, largest component first.
    """

    layers: Layers
    components: int
    pixels: int
    cycles: tuple[int, ...]

    def as_json(self) -> dict[str, object]:
        return {"components": self.components, "pixels": self.pixels, "cycles": list(self.cycles)}


def bridge(layers: Layers, land: NDArray[np.bool_] | None = None) -> Bridged:
    """Join the connected components of an interferogram by whole cycles.

    The largest component stays as it is, so that the result does not depend on a reference pixel. Pixels of no
    component, or of one that MintPy finds too small or too thin, stay too, as in MintPy's program.

    Parameters
    ----------
    layers
        The interferogram; without components nothing is changed.
    land
        Where components count, shape of the grid; everywhere if None.
    """
    if layers.component is None or min(layers.component.shape) < _LEAST_SIDE:
        return Bridged(layers, 0, 0, ())
    # A component without phase at a bridge's end would make all of it NaN.
    usable = np.isfinite(layers.phase_rad) if land is None else np.isfinite(layers.phase_rad) & land
    phase, labels = _joined(layers.phase_rad, np.where(usable, layers.component, 0))
    if phase is None:
        return Bridged(layers, int(labels.max()), 0, ())
    cycles = np.round((phase - layers.phase_rad.astype(np.float64)) / _CYCLE)
    changed = np.nan_to_num(cycles) != 0
    sizes = np.bincount(labels[changed], minlength=1)
    order = [label for label in np.argsort(-sizes, kind="stable") if sizes[label] > 0]
    added = tuple(int(cycles[changed & (labels == label)][0]) for label in order)
    return Bridged(replace(layers, phase_rad=phase), int(labels.max()), int(changed.sum()), added)


def _joined(
    phase_rad: NDArray[np.float32], component: NDArray[np.int16]
) -> tuple[NDArray[np.float32] | None, NDArray[np.integer]]:
    """The phase after bridging (None: there is nothing to join), and MintPy's numbers of the components."""
    # MintPy is slow to load, and most sites do not want this.
    from mintpy.objects.conncomp import connectComponent, label_conn_comp

    with warnings.catch_warnings():
        # MintPy uses names that newer versions of scikit-image will change.
        warnings.simplefilter("ignore")
        labels, count = label_conn_comp(component.copy(), min_area=_LEAST_PIXELS)
        if count < 2:
            return None, labels
        joined = connectComponent(conncomp=component.copy(), metadata={})
        joined.label(min_area=_LEAST_PIXELS)
        joined.find_mst_bridge()
        phase = joined.unwrap_conn_comp(phase_rad, radius=_WINDOW_PIXELS)
    return phase, joined.labelImg
