"""Whole cycles between the connected components of one interferogram: MintPy's bridging.

Phase unwrapping knows the phase within a connected component; between two of them it may be wrong by whole cycles.
Bridging assumes that the phase differs by less than half a cycle across the shortest way from one to the next
(Yunjun et al. 2019, doi:10.1016/j.cageo.2019.104331, section 3.1). That holds for components that water or a
forest divides, and not for a trough that is cut off because it is too steep: hence a switch of the site.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.closure import CYCLE_RAD
from sagwatch.engine.interferogram import Layers

#: MintPy's defaults: radius of the patches at both ends of a bridge, least size of a component, pixels.
RADIUS, LEAST_PIXELS = 50, 2500.0


@dataclass(frozen=True, slots=True)
class Bridging:
    """What bridging found: how many components it joined, and which cycles it added to how many pixels."""

    components: int
    bridged_pixels: int
    pixels_by_cycles: dict[int, int]

    def as_json(self) -> dict[str, object]:
        return {
            "components": self.components,
            "bridged_pixels": self.bridged_pixels,
            "cycles": {str(cycles): pixels for cycles, pixels in self.pixels_by_cycles.items()},
        }


def bridge_components(layers: Layers, land: NDArray[np.bool_] | None = None) -> tuple[Layers, Bridging]:
    """Join the connected components of an interferogram by whole cycles, with MintPy's own code.

    The largest component stays as it is. MintPy starts from the one of the reference pixel instead; that differs by
    a constant of whole cycles, which referencing takes away again. Components that are too small for MintPy
    (2500 pixels or 0.3 % of the grid, or gone after an erosion by two pixels) stay as they are, and are not counted.

    Parameters
    ----------
    layers
        With components; without them nothing can be joined, and nothing is.
    land
        False where a component does not count because it is water; the grid's shape.
    """
    from mintpy.objects.conncomp import connectComponent, label_conn_comp

    if layers.component is None:
        return layers, Bridging(0, 0, {})
    seen = np.isfinite(layers.phase_rad) if land is None else np.isfinite(layers.phase_rad) & land
    component = np.where(seen, layers.component, 0).astype(np.int16)
    # MintPy's class cannot say that it found nothing.
    _, count = label_conn_comp(component, min_area=LEAST_PIXELS)
    if count < 2:
        return layers, Bridging(count, 0, {})
    bridges = connectComponent(conncomp=component, metadata={})
    bridges.label(min_area=LEAST_PIXELS)
    bridges.find_mst_bridge()
    phase = bridges.unwrap_conn_comp(layers.phase_rad, radius=RADIUS, ramp_type=None)
    added = np.round((phase[seen] - layers.phase_rad[seen]) / CYCLE_RAD).astype(np.int64)
    cycles, pixels = np.unique(added[added != 0], return_counts=True)
    by_cycles = dict(zip(cycles.tolist(), pixels.tolist(), strict=True))
    return replace(layers, phase_rad=phase), Bridging(bridges.numLabel, sum(by_cycles.values()), by_cycles)
