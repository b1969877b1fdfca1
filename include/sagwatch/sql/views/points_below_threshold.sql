CREATE VIEW analyst.points_below_threshold AS
SELECT
    point.site,
    point.track,
    point.point_id,
    point.longitude,
    point.latitude,
    least(point.velocity_mm_yr, point.velocity_150d_mm_yr, point.velocity_365d_mm_yr) AS fastest_mm_yr,
    point.velocity_mm_yr,
    point.velocity_150d_mm_yr,
    point.velocity_365d_mm_yr,
    limits.threshold_mm_yr,
    alert.open IS TRUE AS in_alert,
    alert.alert_id,
    alert.level,
    CASE
        WHEN alert.open THEN format('alert of level %s in %s since %s', alert.level, alert.zone, alert.since)
        WHEN point.why_not IS NOT NULL THEN point.why_not
        WHEN pending.id IS NOT NULL AND alert.alert_id IS NULL THEN format('in %s, not yet in enough updates in a row', pending.name)
        WHEN alert.alert_id IS NOT NULL THEN format('in %s, whose alert is %s', alert.zone, alert.state)
        ELSE 'unexplained: report this to the operators'
    END AS reason,
    point.reliable,
    point.temporal_coherence,
    point.zone_id,
    point.last_epoch,
    point.provisional,
    point.geom
FROM analyst.current_velocities point
JOIN (
    SELECT name, (config #>> '{alerts,levels_mm_yr,0}')::real AS threshold_mm_yr FROM sagwatch.site
) AS limits ON limits.name = point.site
LEFT JOIN LATERAL (
    SELECT one.alert_id, one.level, one.zone, one.since, one.state, one.open FROM analyst.alerts one
    WHERE one.zone_id = point.zone_id AND one.rule = 'R1' ORDER BY one.open DESC, one.episode DESC LIMIT 1
) AS alert ON true
LEFT JOIN sagwatch.zone pending ON pending.id = point.zone_id
WHERE least(point.velocity_mm_yr, point.velocity_150d_mm_yr, point.velocity_365d_mm_yr) < limits.threshold_mm_yr;

COMMENT ON VIEW analyst.points_below_threshold IS
    'Every point whose line-of-sight velocity is beyond the site''s first level (-40 mm/yr by default) over the whole record, 150 or 365 days, with the reason for its alert or for the lack of one.';
COMMENT ON COLUMN analyst.points_below_threshold.fastest_mm_yr IS 'The most negative of the three velocities, mm/yr.';
