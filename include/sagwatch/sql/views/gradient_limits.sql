-- A quarter of Sentinel-1's wavelength (0.05546576 m), as domain/sentence.py has it.
CREATE VIEW analyst.gradient_limits AS
SELECT
    track.site,
    track.name AS track,
    (track.grid ->> 'pixel_m')::double precision AS pixel_m,
    55.46576::double precision AS wavelength_mm,
    track.incidence_deg,
    pause.days AS interval_days,
    limited.los_mm AS limit_los_mm,
    limited.los_mm * 365.25 / pause.days AS limit_los_mm_yr,
    limited.los_mm / cos(radians(track.incidence_deg::double precision)) AS limit_vertical_mm,
    limited.los_mm / cos(radians(track.incidence_deg::double precision)) * 365.25 / pause.days AS limit_vertical_mm_yr,
    limited.los_mm / cos(radians(track.incidence_deg::double precision))
        / (track.grid ->> 'pixel_m')::double precision AS limit_vertical_mm_m
FROM sagwatch.track
JOIN sagwatch.site ON site.name = track.site
JOIN sagwatch.revision ON revision.id = track.head_revision_id
CROSS JOIN (SELECT 55.46576::double precision / 4 AS los_mm) AS limited
CROSS JOIN LATERAL (
    SELECT coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY latest.day - latest.before), 12) AS days
    FROM (
        SELECT epoch.day, lag(epoch.day) OVER (ORDER BY epoch.day) AS before
        FROM (SELECT day FROM unnest(revision.epochs) AS every (day) ORDER BY day DESC LIMIT 14) AS epoch
    ) AS latest
    WHERE latest.before IS NOT NULL
) AS pause
WHERE site.archived_at IS NULL AND track.archived_at IS NULL;
COMMENT ON VIEW analyst.gradient_limits IS
    'The steepest motion that each track can tell between neighbouring pixels; beyond it InSAR shows a lower bound (current_velocities.blind).';
COMMENT ON COLUMN analyst.gradient_limits.interval_days IS 'Usual pause between the latest acquisitions.';
COMMENT ON COLUMN analyst.gradient_limits.limit_los_mm IS 'A quarter wavelength: line-of-sight motion between neighbours within one interval, mm.';
COMMENT ON COLUMN analyst.gradient_limits.limit_los_mm_yr IS 'The same as a difference of velocities of neighbours, line-of-sight mm/yr a pixel.';
COMMENT ON COLUMN analyst.gradient_limits.limit_vertical_mm IS 'Purely vertical motion that shows as the limit at the track''s mean incidence, mm within one interval; NULL where the angle is not known.';
COMMENT ON COLUMN analyst.gradient_limits.limit_vertical_mm_m IS 'The same as tilt that comes within one interval, mm per metre.';
