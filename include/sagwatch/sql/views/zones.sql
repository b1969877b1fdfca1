CREATE VIEW analyst.zones AS
SELECT
    track.site,
    track.name AS track,
    zone.id AS zone_id,
    zone.name AS zone,
    zone.born_epoch,
    zone.last_epoch,
    zone.ended_epoch,
    zone.ended_epoch IS NULL AND zone.merged_into IS NULL AS live,
    zone.episode,
    zone.parent_zone,
    zone.merged_into,
    snapshot.epoch AS seen_epoch,
    snapshot.area_m2,
    snapshot.pixels,
    snapshot.window_days,
    snapshot.velocity_median_mm_yr,
    snapshot.velocity_p95_mm_yr,
    snapshot.velocity_sd_mm_yr,
    snapshot.displacement_mm,
    snapshot.no_data_fraction,
    snapshot.geom
FROM sagwatch.zone
JOIN sagwatch.track ON track.id = zone.track_id
LEFT JOIN LATERAL (
    SELECT seen.* FROM sagwatch.zone_snapshot seen
    WHERE seen.zone_id = zone.id ORDER BY seen.epoch DESC LIMIT 1
) AS snapshot ON true;
COMMENT ON VIEW analyst.zones IS
    'Areas that move or moved, each as it was last seen; velocities are line of sight, mm/yr. A zone is not yet an alert (see alerts).';

CREATE VIEW analyst.zone_history AS
SELECT
    track.site,
    track.name AS track,
    zone.id AS zone_id,
    zone.name AS zone,
    snapshot.epoch,
    snapshot.area_m2,
    snapshot.pixels,
    snapshot.window_days,
    snapshot.velocity_median_mm_yr,
    snapshot.velocity_p95_mm_yr,
    snapshot.velocity_sd_mm_yr,
    snapshot.displacement_mm,
    snapshot.no_data_fraction,
    snapshot.evidence,
    snapshot.geom
FROM sagwatch.zone_snapshot snapshot
JOIN sagwatch.zone ON zone.id = snapshot.zone_id
JOIN sagwatch.track ON track.id = zone.track_id;
COMMENT ON VIEW analyst.zone_history IS 'Every zone as every acquisition showed it: how an area grew, moved and slowed.';
