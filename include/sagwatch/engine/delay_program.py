"""The delay of one acquisition by MintPy's and PyAPS's own code; a program of its own (`delays` runs it).

``python -m sagwatch.engine.delay_program GRIB GEOMETRY TARGET`` writes metres, shape (rows, columns), as ``.npy``.
"""

from __future__ import annotations

import sys

import numpy as np
from mintpy.objects import geometry
from mintpy.tropo_pyaps3 import get_delay
from mintpy.utils import utils as ut
from numpy.typing import NDArray


def pyaps_delay(grib: str, geometry_file: str) -> NDArray[np.float32]:
    """One turn of MintPy's ``tropo_pyaps3.calc_delay_timeseries``."""
    seen = geometry(geometry_file)
    seen.open(print_msg=False)
    incidence_deg = seen.read(datasetName="incidenceAngle", print_msg=False)
    height_m = seen.read(datasetName="height", print_msg=False)
    latitude, longitude = ut.get_lat_lon(seen.metadata)
    mask = np.multiply(incidence_deg != 0, ~np.isnan(incidence_deg))
    delay_m: NDArray[np.float32] = get_delay(
        grib, "ERA5", "comb", height_m, incidence_deg, latitude, longitude, mask=mask
    )
    return delay_m


if __name__ == "__main__":
    np.save(sys.argv[3], pyaps_delay(sys.argv[1], sys.argv[2]))
