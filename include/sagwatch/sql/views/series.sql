-- SECURITY DEFINER: analysts see no tables. The search path is fixed and ends with pg_temp, as it must be for that.
CREATE FUNCTION analyst.series(point_id bigint) RETURNS TABLE (date date, displacement_mm real, provisional boolean)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 200 SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
    SELECT epoch.day,
        nullif(tile.los_mm[point.position + 1], 'NaN')
            - coalesce(nullif(topography.mm_per_m[point.position + 1], 'NaN') * epoch.perpendicular_m, 0)::real,
        analyst.is_provisional(epoch.troposphere, epoch.orbits)
    FROM sagwatch.point
    JOIN sagwatch.track ON track.id = point.track_id
    JOIN sagwatch.revision ON revision.id = track.head_revision_id
    CROSS JOIN unnest(revision.epochs, revision.troposphere, revision.orbits, revision.perpendicular_m)
        AS epoch (day, troposphere, orbits, perpendicular_m)
    LEFT JOIN sagwatch.series_tile tile
        ON tile.track_id = point.track_id AND tile.tile = point.tile AND tile.epoch = epoch.day
        AND tile.until_number IS NULL
    LEFT JOIN sagwatch.topography_tile topography
        ON topography.track_id = point.track_id AND topography.tile = point.tile AND topography.term = 0
        AND topography.until_number IS NULL
    WHERE point.id = series.point_id
    ORDER BY epoch.day;
END;
COMMENT ON FUNCTION analyst.series(bigint) IS
    'Displacement history of a point: one row per acquisition of the newest published revision; line of sight in mm since the first acquisition, negative away from the satellite; NULL is no data; provisional: the acquisition stands on input that will be replaced (see analyst.epochs).';

CREATE FUNCTION analyst.series_as_of(point_id bigint, moment timestamptz)
RETURNS TABLE (date date, displacement_mm real, revision_number int, provisional boolean)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 200 SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
    SELECT epoch.day,
        nullif(tile.los_mm[point.position + 1], 'NaN')
            - coalesce(nullif(topography.mm_per_m[point.position + 1], 'NaN') * epoch.perpendicular_m, 0)::real,
        shown.number,
        analyst.is_provisional(epoch.troposphere, epoch.orbits)
    FROM sagwatch.point
    CROSS JOIN LATERAL (
        SELECT published.number, published.revision_id FROM sagwatch.published_revision published
        WHERE published.track_id = point.track_id AND published.published_at <= series_as_of.moment
        ORDER BY published.number DESC LIMIT 1
    ) AS shown
    JOIN sagwatch.revision ON revision.id = shown.revision_id
    CROSS JOIN unnest(revision.epochs, revision.troposphere, revision.orbits, revision.perpendicular_m)
        AS epoch (day, troposphere, orbits, perpendicular_m)
    LEFT JOIN sagwatch.series_tile tile
        ON tile.track_id = point.track_id AND tile.tile = point.tile AND tile.epoch = epoch.day
        AND tile.from_number <= shown.number
        AND (tile.until_number IS NULL OR tile.until_number > shown.number)
    LEFT JOIN sagwatch.topography_tile topography
        ON topography.track_id = point.track_id AND topography.tile = point.tile AND topography.term = 0
        AND topography.from_number <= shown.number
        AND (topography.until_number IS NULL OR topography.until_number > shown.number)
    WHERE point.id = series_as_of.point_id
    ORDER BY epoch.day;
END;
COMMENT ON FUNCTION analyst.series_as_of(bigint, timestamptz) IS
    'Displacement history of a point as it was shown at a moment: what did we know on that day? No rows before the first publication.';
