CREATE FUNCTION analyst.is_provisional(troposphere text, orbits text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN troposphere IN ('none', 'preliminary') OR orbits = 'restituted';
COMMENT ON FUNCTION analyst.is_provisional(text, text) IS
    'Whether an acquisition with such weather and orbits (see analyst.epochs) stands on input that will be replaced.';

CREATE FUNCTION analyst.any_provisional(troposphere text[], orbits text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN troposphere && ARRAY['none', 'preliminary'] OR orbits && ARRAY['restituted'];
COMMENT ON FUNCTION analyst.any_provisional(text[], text[]) IS
    'Whether any acquisition of a revision is (see is_provisional): all of its numbers may still change.';

-- One row per acquisition of what readers see; domain/provisional.py has the same words.
CREATE VIEW analyst.epochs AS
SELECT
    track.site,
    track.name AS track,
    epoch.date,
    analyst.is_provisional(epoch.troposphere, epoch.orbits) AS provisional,
    nullif(concat_ws(
        ', ',
        CASE epoch.troposphere WHEN 'none' THEN 'no weather data yet'
            WHEN 'preliminary' THEN 'preliminary weather data' END,
        CASE epoch.orbits WHEN 'restituted' THEN 'restituted orbits' END
    ), '') AS why,
    epoch.troposphere,
    epoch.orbits,
    revision.number AS revision_number,
    coalesce(revision.summary -> 'average_correction' ? epoch.date::text, false) AS average_correction,
    revision.summary ->> 'topography' AS topography
FROM sagwatch.track
JOIN sagwatch.site ON site.name = track.site
JOIN sagwatch.revision ON revision.id = track.head_revision_id
CROSS JOIN LATERAL unnest(revision.epochs, revision.troposphere, revision.orbits)
    AS epoch (date, troposphere, orbits)
WHERE site.archived_at IS NULL AND track.archived_at IS NULL;
COMMENT ON VIEW analyst.epochs IS
    'Every acquisition of the newest published revision of every watched track. Provisional: it stands on input that will be replaced (why), so its displacement may still change.';
COMMENT ON COLUMN analyst.epochs.troposphere IS
    'Delay of the troposphere: none (not corrected, data missing), preliminary (ERA5T), final; off: the site wants no correction; estimated: taken from the displacements themselves.';
COMMENT ON COLUMN analyst.epochs.orbits IS 'precise, restituted (quick; replaced after about three weeks where the site says network.reorder_restituted, otherwise they stay), unknown.';
COMMENT ON COLUMN analyst.epochs.average_correction IS
    'True: it shows too little steady ground, so the average ramp (or dependence on height) of the other acquisitions was taken away in place of its own.';
COMMENT ON COLUMN analyst.epochs.topography IS
    'Residual topography: estimated; not yet (too few acquisitions, so nothing is taken away); off (the site wants none); NULL in revisions older than this column.';

CREATE VIEW analyst.weather AS
SELECT
    track.site,
    track.name AS track,
    weather.date,
    weather.method,
    weather.state,
    weather.reason,
    weather.tries,
    weather.tried_at,
    weather.next_try_at,
    delay.obtained_at,
    delay.name AS file,
    delay.sha256,
    delay.source,
    delay.source_sha256,
    (SELECT count(*) FROM sagwatch.weather_delay earlier
        WHERE earlier.track_id = weather.track_id AND earlier.date = weather.date AND earlier.method = weather.method
            AND earlier.id < weather.delay_id) AS replaced
FROM sagwatch.weather
JOIN sagwatch.track ON track.id = weather.track_id
LEFT JOIN sagwatch.weather_delay delay ON delay.id = weather.delay_id;
COMMENT ON VIEW analyst.weather IS
    'How the search for each acquisition''s tropospheric delay stands: none, preliminary or final, the reason why there is nothing better, and when it is asked for again.';
COMMENT ON COLUMN analyst.weather.file IS 'The delay that is used, in the track''s folder; metres along the line of sight, MintPy''s sign.';
COMMENT ON COLUMN analyst.weather.replaced IS 'How many earlier delays of this acquisition it replaced; they are in analyst.weather_history.';

CREATE VIEW analyst.weather_history AS
SELECT
    track.site, track.name AS track, delay.date, delay.method, delay.state, delay.obtained_at, delay.name AS file,
    delay.sha256, delay.source, delay.source_sha256
FROM sagwatch.weather_delay delay
JOIN sagwatch.track ON track.id = delay.track_id;
COMMENT ON VIEW analyst.weather_history IS
    'Every tropospheric delay that was ever used; rows are never changed. source: the file that it was made from, with its hash.';
