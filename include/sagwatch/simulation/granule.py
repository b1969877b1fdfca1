"""One record of the simulated catalogue, and its form in CMR's UMM-G JSON."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from shapely.geometry import Polygon

from .orbit import StateVectors

PLATFORM_NAMES = {f"S1{letter}": f"SENTINEL-1{letter}" for letter in "ABCD"}
BURST_SECONDS = 3.1
SLC_SECONDS = 27


@dataclass(frozen=True, kw_only=True)
class Granule:
    """A burst or a scene as the catalogue knows it.

    ``acquired`` is the time in the granule's name; ``published`` is when it becomes visible, by the simulated clock.
    """

    name: str
    short_name: str
    acquired: datetime
    seconds: float
    published: datetime
    platform: str
    path: int
    direction: str
    polarization: str
    orbit: int
    slc_name: str
    footprint: Polygon
    vectors: StateVectors | None
    ascending_node: datetime
    baseline_m: float
    processor_version: str = "003.71"
    burst_id: str | None = None
    frame: int | None = None
    attributes: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def is_burst(self) -> bool:
        return self.burst_id is not None

    @property
    def ur(self) -> str:
        """CMR's unique reference: a scene carries its level, a burst does not."""
        return self.name if self.is_burst else f"{self.name}-SLC"

    @property
    def begins(self) -> datetime:
        # A burst's first valid line comes about a second after the time in its name.
        return self.acquired + timedelta(seconds=1.145553 if self.is_burst else 0.0)

    @property
    def ends(self) -> datetime:
        return self.begins + timedelta(seconds=self.seconds)

    @cached_property
    def attribute_values(self) -> dict[str, str]:
        """CMR's additional attributes, by name."""
        centre = self.footprint.centroid
        values = {
            "ASC_NODE_TIME": _stamp(self.ascending_node, "microseconds") + "Z",
            "ASCENDING_DESCENDING": self.direction,
            "BEAM_MODE": "IW",
            "CENTER_LAT": f"{centre.y:.8f}",
            "CENTER_LON": f"{centre.x:.8f}",
            "GROUP_ID": f"{self.platform}_IWDV_0118_0124_{self.orbit:06d}_{self.path:03d}",
            "LOOK_DIRECTION": "R",
            "PATH_NUMBER": str(self.path),
            "POLARIZATION": self.polarization,
            "PROCESSING_LEVEL": "L1",
            "PROCESSING_TYPE": "BURST" if self.is_burst else "SLC",
        }
        values |= self._burst_values() if self.is_burst else self._scene_values()
        if self.vectors is not None:
            values |= _vector_values(self.vectors)
        return values | self.attributes

    def _burst_values(self) -> dict[str, str]:
        assert self.burst_id is not None
        number, swath = self.burst_id[4:10], self.burst_id[11:]
        return {
            "AZIMUTH_TIME": _stamp(self.acquired, "microseconds"),
            "AZIMUTH_ANX_TIME": f"{(self.acquired - self.ascending_node).total_seconds():.3f}",
            "BURST_ID_ABSOLUTE": str(self.orbit * 2147 + int(number) % 2147),
            "BURST_ID_FULL": self.burst_id,
            "BURST_ID_RELATIVE": str(int(number)),
            "BURST_INDEX": str(int(number) % 9),
            "BYTE_LENGTH": "147215404",
            "LINES_PER_BURST": "1519",
            "SAMPLES_PER_BURST": "24229",
            "SUBSWATH_NAME": swath,
        }

    def _scene_values(self) -> dict[str, str]:
        return {
            "ASF_PLATFORM": f"Sentinel-1{self.platform[2]}",
            "BEAM_MODE_TYPE": "IW",
            "BYTES": "4193723581",
            "FRAME_NUMBER": str(self.frame),
            "CENTER_ESA_FRAME": str(self.frame),
            "GRANULE_TYPE": f"SENTINEL_1{self.platform[2]}_FRAME",
            "MD5SUM": hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest(),
            "PROCESSING_DATE": _stamp(self.acquired + timedelta(hours=6), "microseconds") + "Z",
        }


def to_umm(granule: Granule) -> dict[str, Any]:
    """The record as ``/search/granules.umm_json`` shows it."""
    digest = int(hashlib.sha256(granule.ur.encode()).hexdigest()[:8], 16)
    inserted = _stamp(granule.published, "seconds") + "Z"
    umm: dict[str, Any] = {
        "GranuleUR": granule.ur,
        "TemporalExtent": {
            "RangeDateTime": {
                "BeginningDateTime": _stamp(granule.begins, "microseconds") + "Z",
                "EndingDateTime": _stamp(granule.ends, "microseconds") + "Z",
            }
        },
        "OrbitCalculatedSpatialDomains": [{"OrbitNumber": granule.orbit}],
        "CollectionReference": {"ShortName": granule.short_name, "Version": "1"},
        "PGEVersionClass": {"PGEName": "Sentinel-1 IPF", "PGEVersion": granule.processor_version},
        "ProviderDates": [{"Type": "Insert", "Date": inserted}, {"Type": "Update", "Date": inserted}],
        "Platforms": [
            {"ShortName": PLATFORM_NAMES[granule.platform], "Instruments": [{"ShortName": "C-SAR"}]},
        ],
        "RelatedUrls": _related_urls(granule),
        "SpatialExtent": {
            "HorizontalSpatialDomain": {
                "Geometry": {
                    "GPolygons": [
                        {
                            "Boundary": {
                                "Points": [
                                    {"Latitude": round(lat, 6), "Longitude": round(lon, 6)}
                                    for lon, lat in granule.footprint.exterior.coords
                                ]
                            }
                        }
                    ]
                }
            }
        },
        "AdditionalAttributes": [
            {"Name": name, "Values": [value]} for name, value in sorted(granule.attribute_values.items())
        ],
        "MetadataSpecification": {
            "URL": "https://cdn.earthdata.nasa.gov/umm/granule/v1.6.7",
            "Name": "UMM-G",
            "Version": "1.6.7",
        },
    }
    if granule.is_burst:
        umm["InputGranules"] = [f"{granule.slc_name}-SLC"]
    else:
        umm["DataGranule"] = {
            "DayNightFlag": "Unspecified",
            "Identifiers": [{"Identifier": granule.name, "IdentifierType": "ProducerGranuleId"}],
            "ProductionDateTime": _stamp(granule.begins, "milliseconds") + "Z",
        }
    meta = {
        "concept-type": "granule",
        "concept-id": f"G{1_000_000_000 + digest % 1_000_000_000}-ASF",
        "revision-id": 1,
        "native-id": granule.ur,
        "provider-id": "ASF",
        "format": "application/vnd.nasa.cmr.umm+json",
        "revision-date": _stamp(granule.published, "milliseconds") + "Z",
    }
    return {"meta": meta, "umm": umm}


def _related_urls(granule: Granule) -> list[dict[str, str]]:
    if not granule.is_burst:
        folder = f"S{granule.platform[2]}"
        url = f"https://datapool.asf.alaska.edu/SLC/{folder}/{granule.name}.zip"
        return [{"URL": url, "Type": "GET DATA", "Description": "Direct download of the granule."}]
    assert granule.burst_id is not None
    swath, index = granule.burst_id[11:], int(granule.burst_id[4:10]) % 9
    stem = f"https://sentinel1-burst.asf.alaska.edu/{granule.slc_name}/{swath}/{granule.polarization}/{index}"
    forms = {"tiff": "GeoTIFF", "xml": "XML", "zip": "SAFE"}
    # The order matters: clients take the first as the image and the second as its metadata.
    return [
        {"URL": f"{stem}.{ext}", "Type": "USE SERVICE API", "Format": form} for ext, form in forms.items()
    ]


def _vector_values(vectors: StateVectors) -> dict[str, str]:
    def text(vector: Any, moment: datetime) -> str:
        return ",".join(f"{value:.6f}" for value in vector) + "," + _stamp(moment, "microseconds")

    return {
        "SV_POSITION_PRE": text(vectors.pre_position_m, vectors.pre_time),
        "SV_POSITION_POST": text(vectors.post_position_m, vectors.post_time),
        "SV_VELOCITY_PRE": text(vectors.pre_velocity_m_s, vectors.pre_time),
        "SV_VELOCITY_POST": text(vectors.post_velocity_m_s, vectors.post_time),
    }


def _stamp(moment: datetime, precision: str) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec=precision)
