CREATE VIEW analyst.current_velocities AS
SELECT
    track.site,
    track.name AS track,
    point.id AS point_id,
    st_x(point.geom) AS longitude,
    st_y(point.geom) AS latitude,
    held.velocity_mm_yr,
    held.velocity_sd_mm_yr,
    held.velocity_white_sd_mm_yr,
    held.velocity_epochs,
    held.velocity_150d_mm_yr,
    held.velocity_150d_sd_mm_yr,
    held.velocity_150d_white_sd_mm_yr,
    held.velocity_150d_epochs,
    held.velocity_365d_mm_yr,
    held.velocity_365d_sd_mm_yr,
    held.velocity_365d_white_sd_mm_yr,
    held.velocity_365d_epochs,
    held.evidence,
    held.blind,
    analyst.velocity_class(held.velocity_mm_yr) AS class,
    analyst.paper_class(held.velocity_mm_yr) AS paper_class,
    held.displacement_mm,
    held.temporal_coherence,
    held.observations,
    held.reliable,
    held.why_not,
    held.zone_id,
    held.stage,
    held.stage_since,
    held.stage_confidence,
    revision.epochs[1] AS first_epoch,
    revision.epochs[cardinality(revision.epochs)] AS last_epoch,
    revision.number AS revision_number,
    analyst.any_provisional(revision.troposphere, revision.orbits) AS provisional,
    point.geom
FROM sagwatch.point
JOIN sagwatch.point_velocity held ON held.point_id = point.id
JOIN sagwatch.track ON track.id = point.track_id
JOIN sagwatch.site ON site.name = track.site
JOIN sagwatch.revision ON revision.id = track.head_revision_id
WHERE site.archived_at IS NULL AND track.archived_at IS NULL;

COMMENT ON VIEW analyst.current_velocities IS
    'One row per published point of every watched track: line-of-sight velocities (negative is away from the satellite, never simply "vertical") of the newest published revision.';
COMMENT ON COLUMN analyst.current_velocities.point_id IS 'Never changes: track, grid and pixel. A unique key for QGIS.';
COMMENT ON COLUMN analyst.current_velocities.velocity_mm_yr IS 'Over the whole record, mm/yr; comes years late, so alerts are judged on the windows.';
COMMENT ON COLUMN analyst.current_velocities.velocity_sd_mm_yr IS 'One standard deviation of it, corrected for correlation in time, mm/yr.';
COMMENT ON COLUMN analyst.current_velocities.velocity_150d_mm_yr IS 'Over the last 150 days, mm/yr; NULL with too few acquisitions.';
COMMENT ON COLUMN analyst.current_velocities.velocity_365d_mm_yr IS 'Over the last 365 days, mm/yr; NULL with too few acquisitions.';
COMMENT ON COLUMN analyst.current_velocities.provisional IS 'True: some acquisitions stand on input that will be replaced (see analyst.epochs), so values may still change.';
COMMENT ON COLUMN analyst.current_velocities.class IS 'Of the whole record: high, moderate, stable, uplift, unknown (see velocity_class).';
COMMENT ON COLUMN analyst.current_velocities.displacement_mm IS 'Line-of-sight displacement at the last epoch since the first one, mm.';
COMMENT ON COLUMN analyst.current_velocities.reliable IS 'False: temporal coherence too low; shown, but raises no alert.';
COMMENT ON COLUMN analyst.current_velocities.why_not IS 'Why this point is in no alert; NULL inside an alert.';
COMMENT ON COLUMN analyst.current_velocities.stage IS 'stable, initiation, acceleration, linear, decay, residual or cannot tell: by the cuts of its zone''s history and its own rates; outside zones by the line of the whole record.';
COMMENT ON COLUMN analyst.current_velocities.stage_confidence IS '0 to 1: that the point moves (or rests) as its stage says, and that its zone''s history has that cut.';
COMMENT ON COLUMN analyst.current_velocities.velocity_white_sd_mm_yr IS 'As if noise were independent in time, which it is not: MintPy''s own number, for comparison.';
COMMENT ON COLUMN analyst.current_velocities.evidence IS 'What the windows of 150 and 365 days prove with 95 %: beyond threshold (the site''s first level), moving (either way), cannot tell.';
COMMENT ON COLUMN analyst.current_velocities.blind IS 'Why InSAR cannot see the ground here, or shows a lower bound only, at some time of the record; NULL where nothing is known to hide it.';
COMMENT ON COLUMN analyst.current_velocities.paper_class IS 'The published study''s three classes as it drew them, with their holes (NULL); see class for one without.';
