"""What a product says about itself in words: its name, its parameter file, its read-me."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from .granule import Granule
from .orbit import slant_range_m
from .passes import has_precise_orbit
from .scenario import Scenario, Track
from .world import Order

SPACECRAFT_HEIGHT_M = 693_000.0
EARTH_RADIUS_M = 6_337_286.638938101
HALF_SWATH_M = 28_533.5


@dataclass(frozen=True)
class Looks:
    """HyP3 writes range looks x azimuth looks."""

    range: int
    azimuth: int

    @classmethod
    def parse(cls, text: str) -> Looks:
        in_range, in_azimuth = text.split("x")
        return cls(int(in_range), int(in_azimuth))

    @property
    def pixel_m(self) -> int:
        return max(self.range, 5 * self.azimuth) * 4


@dataclass(frozen=True)
class Pair:
    """Everything a product says about itself."""

    scenario: Scenario
    track: Track
    order: Order
    looks: Looks
    references: Sequence[Granule]
    secondaries: Sequence[Granule]

    @property
    def reference(self) -> Granule:
        return min(self.references, key=lambda g: g.acquired)

    @property
    def secondary(self) -> Granule:
        return max(self.secondaries, key=lambda g: g.acquired)

    @property
    def restituted(self) -> frozenset[date]:
        """The dates whose precise orbit was not out when the pair was ordered."""
        return frozenset(
            granule.acquired.date()
            for granule in (self.reference, self.secondary)
            if not has_precise_orbit(self.scenario, granule.acquired, self.order.requested)
        )

    def option(self, name: str) -> bool:
        return bool(self.order.parameters.get(name, False))


def product_name(pair: Pair) -> str:
    """The name HyP3 gives a product of this order."""
    return _NAMES[pair.order.job_type](pair, pair.order.job_id.replace("-", "")[:4].upper())


def _multi_burst_name(pair: Pair, suffix: str) -> str:
    parts = []
    for swath in (1, 2, 3):
        numbers = sorted(
            int(g.burst_id[4:10]) for g in pair.references if g.burst_id and g.burst_id[-1] == str(swath)
        )
        lowest = numbers[0] if numbers else 0
        parts.append(f"{lowest:06d}s{swath}n{len(numbers):02d}")
    return (
        f"S1_{pair.track.path:03d}_{'-'.join(parts)}_IW_{pair.reference.acquired:%Y%m%d}_"
        f"{pair.secondary.acquired:%Y%m%d}_{pair.reference.polarization}_INT{pair.looks.pixel_m}_{suffix}"
    )


def _single_burst_name(pair: Pair, suffix: str) -> str:
    assert pair.reference.burst_id is not None
    return (
        f"S1_{pair.reference.burst_id[4:]}_{pair.reference.acquired:%Y%m%d}_{pair.secondary.acquired:%Y%m%d}_"
        f"{pair.reference.polarization}_INT{pair.looks.pixel_m}_{suffix}"
    )


def _gamma_name(pair: Pair, suffix: str) -> str:
    days = abs((pair.secondary.acquired.date() - pair.reference.acquired.date()).days)
    orbits = "R" if pair.restituted else "P"
    masked = "w" if pair.option("apply_water_mask") else "u"
    return (
        f"S1{pair.reference.platform[2]}{pair.secondary.platform[2]}_{pair.reference.acquired:%Y%m%dT%H%M%S}_"
        f"{pair.secondary.acquired:%Y%m%dT%H%M%S}_VV{orbits}{days:03d}_INT{pair.looks.pixel_m}_G_{masked}eF_{suffix}"
    )


_NAMES: dict[str, Callable[[Pair, str], str]] = {
    "INSAR_ISCE_MULTI_BURST": _multi_burst_name,
    "INSAR_ISCE_BURST": _single_burst_name,
    "INSAR_GAMMA": _gamma_name,
}


def parameter_file(pair: Pair) -> str:
    """The parameter file, key for key and in HyP3's order; readers split it at the first colon of each line."""
    lines = _common_parameters(pair)
    if pair.order.job_type == "INSAR_GAMMA":
        lines |= _gamma_parameters(pair)
    elif pair.order.job_type == "INSAR_ISCE_BURST":
        lines |= _radar_parameters(pair)
    return "\n".join(f"{key}: {value}" for key, value in lines.items()) + "\n"


def _common_parameters(pair: Pair) -> dict[str, str]:
    start = pair.reference.acquired
    seconds = start.hour * 3600 + start.minute * 60 + start.second + 0.201944
    centre_m = slant_range_m(pair.track.incidence_deg)
    baseline = pair.secondary.baseline_m - pair.reference.baseline_m
    gamma = pair.order.job_type == "INSAR_GAMMA"
    lines = {
        "Reference Granule": ", ".join(g.name for g in pair.references),
        "Secondary Granule": ", ".join(g.name for g in pair.secondaries),
        "Reference Pass Direction": pair.track.direction,
        "Reference Orbit Number": str(pair.reference.orbit),
        "Secondary Pass Direction": pair.track.direction,
        "Secondary Orbit Number": str(pair.secondary.orbit),
        "Baseline": f"{baseline:.4f}" if gamma else repr(round(baseline, 10)),
        "UTC time": f"{seconds:.6f}",
        "Heading": repr(pair.track.heading_deg),
        "Spacecraft height": "705239.4" if gamma else repr(SPACECRAFT_HEIGHT_M),
        "Earth radius at nadir": "6370012.38" if gamma else repr(EARTH_RADIUS_M),
        "Slant range near": repr(centre_m - HALF_SWATH_M),
        "Slant range center": repr(centre_m),
        "Slant range far": repr(centre_m + HALF_SWATH_M),
        "Range looks": str(pair.looks.range),
        "Azimuth looks": str(pair.looks.azimuth),
    }
    if gamma:
        return lines
    return lines | {
        "INSAR phase filter": "yes",
        "Phase filter parameter": "0.5",
        "Range bandpass filter": "no",
        "Azimuth bandpass filter": "no",
        "DEM source": "GLO_30",
        "DEM resolution (m)": "30",
        "Unwrapping type": "snaphu_mcf",
        "Speckle filter": "yes",
        "Water mask": "yes" if pair.option("apply_water_mask") else "no",
    }


def _gamma_parameters(pair: Pair) -> dict[str, str]:
    strength = float(pair.order.parameters.get("phase_filter_parameter", 0.6))
    return {
        "INSAR phase filter": "adf" if strength else "none",
        "Phase filter parameter": str(strength),
        "Resolution of output (m)": str(pair.looks.pixel_m),
        "Range bandpass filter": "no",
        "Azimuth bandpass filter": "no",
        "DEM source": "GLO-30",
        "DEM resolution (m)": str(2 * pair.looks.pixel_m),
        "Unwrapping type": "mcf",
        "Phase at reference point": "0.0",
        "Azimuth line of the reference point in SAR space": "0.0",
        "Range pixel of the reference point in SAR space": "0.0",
        "Y coordinate of the reference point in the map projection": "0.0",
        "X coordinate of the reference point in the map projection": "0.0",
        "Latitude of the reference point (WGS84)": "0.0",
        "Longitude of the reference point (WGS84)": "0.0",
        "Unwrapping threshold": "none",
        "Speckle filter": "no",
    }


def _radar_parameters(pair: Pair) -> dict[str, str]:
    lines, samples = 1504 // pair.looks.azimuth, 25380 // pair.looks.range
    return {
        "Radar n lines": str(lines),
        "Radar n samples": str(samples),
        "Radar first valid line": "7",
        "Radar n valid lines": str(lines - 13),
        "Radar first valid sample": "23",
        "Radar n valid samples": str(samples - 51),
        "Multilook azimuth time interval": repr(0.0020555563 * pair.looks.azimuth),
        "Multilook range pixel size": repr(2.329562114715323 * pair.looks.range),
        "Radar sensing stop": pair.reference.ends.replace(tzinfo=None).isoformat(),
    }


def readme(pair: Pair, name: str) -> str:
    return (
        f"{name}\n\n"
        "This product was made by Sagwatch's simulated cloud. Its layout follows ASF HyP3; its ground, atmosphere and\n"
        f"noise are invented (scenario {pair.scenario.name}, seed {pair.scenario.seed}). Not a measurement.\n"
    )
