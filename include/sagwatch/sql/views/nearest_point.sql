CREATE FUNCTION analyst.nearest_point(longitude double precision, latitude double precision, site text DEFAULT NULL)
RETURNS TABLE (site text, track text, point_id bigint, distance_m double precision, geom geometry)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 2 SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
    SELECT track.site, track.name, nearest.id, nearest.distance_m, nearest.geom
    FROM sagwatch.track
    CROSS JOIN LATERAL (
        -- The index orders by degrees, which are not equally long east and north, so a few candidates are measured.
        SELECT candidate.id, candidate.geom, st_distance(
            candidate.geom::geography,
            st_setsrid(st_makepoint(nearest_point.longitude, nearest_point.latitude), 4326)::geography
        ) AS distance_m
        FROM (
            SELECT point.id, point.geom FROM sagwatch.point WHERE point.track_id = track.id
            ORDER BY point.geom
                <-> st_setsrid(st_makepoint(nearest_point.longitude, nearest_point.latitude), 4326)
            LIMIT 25
        ) AS candidate
        ORDER BY distance_m LIMIT 1
    ) AS nearest
    WHERE nearest_point.site IS NULL OR track.site = nearest_point.site
    ORDER BY nearest.distance_m;
END;
COMMENT ON FUNCTION analyst.nearest_point(double precision, double precision, text) IS
    'The published point nearest to a place, one row per track, nearest first; distance in metres. Without a site: of all sites.';
