"""A small invented world for tests: two tracks, two bursts, few dates, every oddity early."""

from pathlib import Path

SMALL = """
name: small
seed: 7
epsg: 32649
box: [110.80, 37.40, 110.83, 37.43]
margin_m: 200
rehearsal_path: 11
latency_hours: 20
job_seconds: 0
credits_per_month: 40
tracks:
  - bursts: ["011_021697_IW3", "011_021698_IW3"]
    frame: 118
    direction: ASCENDING
    heading_deg: -12.6
    incidence_deg: 42.5
    utc: "10:37:02"
    first: 2024-01-01
    last: 2024-07-01
    first_orbit: 51883
    oddities:
      reprocessed_after_days: {2: 15}
      late_days: {5: 30}
      missing: [8]
      without_state_vectors: [9]
  - bursts: ["018_037368_IW2"]
    frame: 467
    direction: DESCENDING
    heading_deg: -167.4
    incidence_deg: 41.4
    utc: "22:37:14"
    first: 2024-01-03
    last: 2024-05-01
    first_orbit: 51890
troughs:
  - name: face
    lon: 110.815
    lat: 37.416
    radius_m: 500
    rates:
      - {from: 2024-01-01, peak_los_mm_yr: -300}
      - {from: 2024-03-01, peak_los_mm_yr: 0}
"""


def write_small_world(folder: Path, **replacements: str) -> Path:
    """The scenario as a file; keyword arguments replace whole lines such as ``job_seconds``."""
    lines = SMALL.splitlines()
    for key, value in replacements.items():
        lines = [f"{key}: {value}" if line.startswith(f"{key}:") else line for line in lines]
    file = folder / "small.yaml"
    file.write_text("\n".join(lines))
    return file
