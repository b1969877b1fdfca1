-- A tile holds the series without what an imperfect height model feigns, because that term changes with every
-- acquisition; it is taken off here (topography_tile times the epoch's perpendicular baseline).
-- SECURITY DEFINER: analysts see no tables. The search path is fixed and ends with pg_temp, as it must be for that.
CREATE FUNCTION analyst.series(point_id bigint) RETURNS TABLE (date date, displacement_mm real)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 200 SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
    SELECT seen.day, nullif(tile.los_mm[point.position + 1], 'NaN')
        - coalesce(nullif(topography.mm_per_m[point.position + 1], 'NaN') * seen.perpendicular_m, 0)
    FROM sagwatch.point
    JOIN sagwatch.track ON track.id = point.track_id
    JOIN sagwatch.revision ON revision.id = track.head_revision_id
    CROSS JOIN unnest(revision.epochs, revision.perpendicular_m) AS seen (day, perpendicular_m)
    LEFT JOIN sagwatch.series_tile tile
        ON tile.track_id = point.track_id AND tile.tile = point.tile AND tile.epoch = seen.day
        AND tile.until_number IS NULL
    LEFT JOIN sagwatch.topography_tile topography
        ON topography.track_id = point.track_id AND topography.tile = point.tile
        AND topography.until_number IS NULL
    WHERE point.id = series.point_id
    ORDER BY seen.day;
END;
COMMENT ON FUNCTION analyst.series(bigint) IS
    'Displacement history of a point: one row per acquisition of the newest published revision; line of sight in mm since the first acquisition, negative away from the satellite; NULL is no data.';

CREATE FUNCTION analyst.series_as_of(point_id bigint, moment timestamptz)
RETURNS TABLE (date date, displacement_mm real, revision_number int)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 200 SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
    SELECT seen.day, nullif(tile.los_mm[point.position + 1], 'NaN')
        - coalesce(nullif(topography.mm_per_m[point.position + 1], 'NaN') * seen.perpendicular_m, 0), shown.number
    FROM sagwatch.point
    CROSS JOIN LATERAL (
        SELECT published.number, published.revision_id FROM sagwatch.published_revision published
        WHERE published.track_id = point.track_id AND published.published_at <= series_as_of.moment
        ORDER BY published.number DESC LIMIT 1
    ) AS shown
    JOIN sagwatch.revision ON revision.id = shown.revision_id
    CROSS JOIN unnest(revision.epochs, revision.perpendicular_m) AS seen (day, perpendicular_m)
    LEFT JOIN sagwatch.series_tile tile
        ON tile.track_id = point.track_id AND tile.tile = point.tile AND tile.epoch = seen.day
        AND tile.from_number <= shown.number
        AND (tile.until_number IS NULL OR tile.until_number > shown.number)
    LEFT JOIN sagwatch.topography_tile topography
        ON topography.track_id = point.track_id AND topography.tile = point.tile
        AND topography.from_number <= shown.number
        AND (topography.until_number IS NULL OR topography.until_number > shown.number)
    WHERE point.id = series_as_of.point_id
    ORDER BY seen.day;
END;
COMMENT ON FUNCTION analyst.series_as_of(bigint, timestamptz) IS
    'Displacement history of a point as it was shown at a moment: what did we know on that day? No rows before the first publication.';
