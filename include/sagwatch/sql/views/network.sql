CREATE VIEW analyst.network_health AS
WITH RECURSIVE edge AS (
    SELECT pair.track_id, pair.reference_date, pair.secondary_date
    FROM sagwatch.interferogram
    JOIN sagwatch.pair ON pair.id = interferogram.pair_id
    WHERE interferogram.state = 'accepted'
),
way AS (
    SELECT track_id, reference_date AS from_date, secondary_date AS to_date FROM edge
    UNION ALL
    SELECT track_id, secondary_date, reference_date FROM edge
),
-- A piece is counted at its first date; it is one of the dates that have no earlier neighbour.
start AS (
    SELECT track_id, from_date AS day FROM way GROUP BY track_id, from_date HAVING min(to_date) > from_date
),
reach AS (
    SELECT track_id, day AS start_date, day FROM start
    UNION
    SELECT reach.track_id, reach.start_date, way.to_date
    FROM reach JOIN way ON way.track_id = reach.track_id AND way.from_date = reach.day
),
piece AS (
    SELECT track_id, day, min(start_date) AS first_date FROM reach GROUP BY track_id, day
),
node AS (
    SELECT piece.track_id, piece.day, piece.first_date, count(*) AS interferograms,
        piece.day - lag(piece.day) OVER (PARTITION BY piece.track_id ORDER BY piece.day) AS gap_days
    FROM piece JOIN way ON way.track_id = piece.track_id AND way.from_date = piece.day
    GROUP BY piece.track_id, piece.day, piece.first_date
),
about_dates AS (
    SELECT track_id, count(*) AS acquisitions, count(DISTINCT first_date) AS pieces, max(gap_days) AS largest_gap_days,
        coalesce(array_agg(day ORDER BY day) FILTER (WHERE interferograms = 1), '{}') AS single_dates
    FROM node GROUP BY track_id
),
about_interferograms AS (
    SELECT pair.track_id,
        count(*) FILTER (WHERE interferogram.state = 'accepted') AS interferograms,
        count(*) FILTER (WHERE interferogram.state = 'excluded') AS excluded,
        count(*) FILTER (WHERE interferogram.excluded_by = 'reference') AS excluded_without_reference,
        count(*) FILTER (WHERE interferogram.state = 'withdrawn') AS withdrawn,
        count(*) FILTER (WHERE interferogram.state = 'accepted' AND interferogram.reason IS NOT NULL)
            AS kept_although_low,
        count(*) FILTER (WHERE interferogram.state = 'accepted' AND interferogram.orbits <> 'precise')
            AS not_precise_orbits,
        min(interferogram.mean_coherence) FILTER (WHERE interferogram.state = 'accepted') AS lowest_coherence
    FROM sagwatch.interferogram JOIN sagwatch.pair ON pair.id = interferogram.pair_id
    GROUP BY pair.track_id
)
SELECT
    track.site, track.name AS track, about_dates.acquisitions, about_interferograms.interferograms,
    coalesce(about_dates.pieces, 0) AS pieces, about_interferograms.excluded,
    about_interferograms.excluded_without_reference, about_interferograms.withdrawn,
    about_interferograms.kept_although_low, about_interferograms.not_precise_orbits,
    about_interferograms.lowest_coherence, about_dates.largest_gap_days, about_dates.single_dates
FROM sagwatch.track
JOIN about_interferograms ON about_interferograms.track_id = track.id
LEFT JOIN about_dates ON about_dates.track_id = track.id
WHERE track.archived_at IS NULL;
COMMENT ON VIEW analyst.network_health IS
    'How well the interferograms in each track''s stack hold together. More than one piece: displacement across the break is not measured.';
COMMENT ON COLUMN analyst.network_health.kept_although_low IS
    'Interferograms below coherence.least_mean that stay because acquisitions would be cut off without them; analyst.interferograms has the reason.';
COMMENT ON COLUMN analyst.network_health.single_dates IS
    'Acquisitions with one interferogram: an error in it is not contradicted by any other.';
COMMENT ON COLUMN analyst.network_health.lowest_coherence IS
    'Lowest mean coherence (valid pixels on land, whole grid) of an interferogram in the stack.';

CREATE VIEW analyst.seasonal_coherence AS
WITH monthly AS (
    SELECT track.site, track.name AS track, extract(month FROM middle)::int AS month,
        extract(year FROM middle)::int AS year, count(*) AS interferograms, sum(mean_coherence) AS total,
        count(*) FILTER (WHERE mean_coherence < (site.config #>> '{coherence,least_mean}')::float) AS below,
        count(*) FILTER (WHERE interferogram.excluded_by = 'coherence') AS excluded
    FROM sagwatch.interferogram
    JOIN sagwatch.pair ON pair.id = interferogram.pair_id
    JOIN sagwatch.track ON track.id = pair.track_id
    JOIN sagwatch.site ON site.name = track.site
    CROSS JOIN LATERAL (SELECT pair.reference_date + (pair.secondary_date - pair.reference_date) / 2 AS middle) AS half
    WHERE interferogram.state <> 'withdrawn'
    GROUP BY track.site, track.name, month, year
)
SELECT
    site, track, month, sum(interferograms)::int AS interferograms,
    sum(total) / sum(interferograms) AS mean_coherence,
    (sum(below) / sum(interferograms))::float AS below_share,
    (sum(excluded) / sum(interferograms))::float AS excluded_share,
    count(*)::int AS years,
    (count(*) FILTER (WHERE 2 * below >= interferograms))::int AS dark_years,
    count(*) >= 2 AND bool_and(2 * below >= interferograms) AS dark_every_year
FROM monthly
GROUP BY site, track, month
ORDER BY site, track, month;
COMMENT ON VIEW analyst.seasonal_coherence IS
    'When InSAR is blind: per track and calendar month (of the middle of each interferogram) how coherent the interferograms are, over all years.';
COMMENT ON COLUMN analyst.seasonal_coherence.dark_years IS
    'Years in which at least half of that month''s interferograms were below coherence.least_mean, of the column years.';
COMMENT ON COLUMN analyst.seasonal_coherence.dark_every_year IS
    'Seen in two years at least, and dark in all of them: expect no answer in this month, and look at other instruments.';

CREATE VIEW analyst.reference_points AS
SELECT
    track.site, track.name AS track, track.reference_latitude AS latitude, track.reference_longitude AS longitude,
    track.reference_reason AS reason, track.reference_pinned_at AS pinned_at, change.who, change.why,
    change.old_latitude, change.old_longitude, site.config #>> '{datum,refer_to}' AS refer_to,
    (revision.summary ->> 'steady_until')::date AS steady_until,
    coalesce((revision.reference_row, revision.reference_column) = (track.reference_row, track.reference_column), false)
        AS in_force
FROM sagwatch.track
JOIN sagwatch.site ON site.name = track.site
LEFT JOIN sagwatch.revision ON revision.id = track.head_revision_id
LEFT JOIN LATERAL (
    SELECT * FROM sagwatch.reference_change
    WHERE reference_change.track_id = track.id ORDER BY reference_change.id DESC LIMIT 1
) AS change ON true
WHERE track.archived_at IS NULL AND track.reference_row IS NOT NULL;
COMMENT ON VIEW analyst.reference_points IS
    'The place at which the interferograms of a track are tied together, why it was taken, and the last act that moved it, if any.';
COMMENT ON COLUMN analyst.reference_points.refer_to IS
    'What displacements refer to: point (this place), or steady_ground (the mean of all ground that is coherent, does not move and lies off the faces).';
COMMENT ON COLUMN analyst.reference_points.in_force IS
    'False: what is published does not refer to it yet; the next run solves the track anew.';
COMMENT ON COLUMN analyst.reference_points.steady_until IS
    'Steady ground was decided from the acquisitions until this one: every 30 acquisitions anew (a younger record: each time), which changes all displacements a little; NULL where nothing needs it.';

CREATE VIEW analyst.reference_changes AS
SELECT track.site, track.name AS track, change.at, change.who, change.why, change.old_latitude, change.old_longitude,
    change.new_latitude, change.new_longitude
FROM sagwatch.reference_change AS change JOIN sagwatch.track ON track.id = change.track_id;
COMMENT ON VIEW analyst.reference_changes IS 'Every act by which a person moved a reference point; nothing moves it otherwise.';

CREATE VIEW analyst.stable_points AS
SELECT
    track.site, track.name AS track, candidate.rank,
    (candidate.row, candidate.column) = (track.reference_row, track.reference_column) AS is_reference,
    candidate.latitude, candidate.longitude, candidate.score, candidate.mean_coherence, candidate.temporal_coherence,
    candidate.unrest_mm_yr, candidate.above_area_m, candidate.ranked_at,
    now.displacement_mm, now.velocity_mm_yr, now.velocity_365d_mm_yr, now.velocity_365d_sd_mm_yr,
    analyst.any_provisional(revision.troposphere, revision.orbits) AS provisional
FROM sagwatch.reference_candidate AS candidate
JOIN sagwatch.track ON track.id = candidate.track_id
LEFT JOIN sagwatch.revision ON revision.id = track.head_revision_id
LEFT JOIN sagwatch.point
    ON point.track_id = candidate.track_id AND point.row = candidate.row AND point."column" = candidate."column"
LEFT JOIN sagwatch.point_velocity AS now ON now.point_id = point.id
WHERE track.archived_at IS NULL AND candidate.ranked_at = (
    SELECT max(ranked_at) FROM sagwatch.reference_candidate AS newest WHERE newest.track_id = candidate.track_id
);
COMMENT ON VIEW analyst.stable_points IS
    'Places that were fit to be the reference point, best first, and how they move now: if all of them move alike, it is the reference that moves. `python -m sagwatch re-reference SITE TRACK --rank N` takes one of them.';
