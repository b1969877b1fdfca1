CREATE FUNCTION analyst.velocities_as_of(site text, moment timestamptz)
RETURNS TABLE (
    track text, point_id bigint, longitude double precision, latitude double precision,
    velocity_mm_yr real, velocity_sd_mm_yr real, velocity_150d_mm_yr real, velocity_150d_sd_mm_yr real,
    velocity_365d_mm_yr real, velocity_365d_sd_mm_yr real, class text,
    revision_number int, published_at timestamptz, geom geometry, provisional boolean
)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 50000 SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
    WITH shown AS (
        SELECT DISTINCT ON (track.id) track.id AS track_id, track.name, published.number, published.published_at,
            analyst.any_provisional(revision.troposphere, revision.orbits) AS provisional
        FROM sagwatch.track
        JOIN sagwatch.published_revision published ON published.track_id = track.id
        JOIN sagwatch.revision ON revision.id = published.revision_id
        WHERE track.site = velocities_as_of.site AND published.published_at <= velocities_as_of.moment
        ORDER BY track.id, published.number DESC
    ), held AS (
        SELECT shown.track_id, shown.name, shown.number, shown.published_at, velocity_tile.tile,
            velocity_tile.window_days, velocity_tile.velocity_mm_yr, velocity_tile.sd_mm_yr
        FROM shown
        JOIN sagwatch.velocity_tile
            ON velocity_tile.track_id = shown.track_id AND velocity_tile.from_number <= shown.number
            AND (velocity_tile.until_number IS NULL OR velocity_tile.until_number > shown.number)
    ), value AS (
        SELECT held.name, held.number, held.published_at, point.id, point.geom, held.window_days,
            nullif(held.velocity_mm_yr[point.position + 1], 'NaN') AS velocity,
            nullif(held.sd_mm_yr[point.position + 1], 'NaN') AS sd
        FROM held
        JOIN sagwatch.point ON point.track_id = held.track_id AND point.tile = held.tile
    ), wide AS (
        SELECT value.name, value.number, value.published_at, value.id, value.geom,
            max(value.velocity) FILTER (WHERE value.window_days = 0) AS v0,
            max(value.sd) FILTER (WHERE value.window_days = 0) AS sd0,
            max(value.velocity) FILTER (WHERE value.window_days = 150) AS v150,
            max(value.sd) FILTER (WHERE value.window_days = 150) AS sd150,
            max(value.velocity) FILTER (WHERE value.window_days = 365) AS v365,
            max(value.sd) FILTER (WHERE value.window_days = 365) AS sd365
        FROM value
        GROUP BY value.name, value.number, value.published_at, value.id, value.geom
    )
    SELECT wide.name, wide.id, st_x(wide.geom), st_y(wide.geom), wide.v0, wide.sd0, wide.v150, wide.sd150,
        wide.v365, wide.sd365, analyst.velocity_class(wide.v0), wide.number, wide.published_at, wide.geom,
        shown.provisional
    FROM wide
    JOIN shown ON shown.name = wide.name
    WHERE coalesce(wide.v0, wide.v150, wide.v365) IS NOT NULL;
END;
COMMENT ON FUNCTION analyst.velocities_as_of(text, timestamptz) IS
    'Line-of-sight velocities of a site as they were shown at a moment, one row per point with a value; also of archived sites. provisional: some acquisitions stood on input that was replaced since, or will be.';
