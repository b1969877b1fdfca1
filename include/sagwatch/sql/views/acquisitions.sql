CREATE VIEW analyst.acquisitions AS
SELECT
    track.site,
    track.name AS track,
    acquisition.date,
    acquisition.acquired_at,
    acquisition.platform,
    acquisition.state,
    acquisition.reason,
    acquisition.until AS pending_until,
    acquisition.perpendicular_baseline_m,
    cardinality(acquisition.granules) AS granules,
    acquisition.first_seen_at,
    acquisition.changed_at
FROM sagwatch.acquisition
JOIN sagwatch.track ON track.id = acquisition.track_id;
COMMENT ON VIEW analyst.acquisitions IS
    'Every pass over every track, and what became of it: used, superseded, rejected, pending (until) or unavailable, with the reason.';

CREATE VIEW analyst.unexplained_acquisitions AS
SELECT
    track.site,
    track.name AS track,
    acquisition.date,
    acquisition.state,
    CASE acquisition.state
        WHEN 'new' THEN 'nobody has decided what becomes of it'
        WHEN 'pending' THEN format('its deadline %s has passed', acquisition.until)
        ELSE 'counts as used, but no accepted interferogram uses it'
    END AS why,
    acquisition.first_seen_at
FROM sagwatch.acquisition
JOIN sagwatch.track ON track.id = acquisition.track_id
WHERE track.archived_at IS NULL AND (
    acquisition.state = 'new'
    OR (acquisition.state = 'pending' AND acquisition.until < track.searched_at)
    OR (
        acquisition.state = 'used' AND NOT EXISTS (
            SELECT FROM sagwatch.pair
            JOIN sagwatch.interferogram ON interferogram.pair_id = pair.id AND interferogram.state = 'accepted'
            WHERE pair.track_id = acquisition.track_id
                AND acquisition.date IN (pair.reference_date, pair.secondary_date)
        )
    )
);
COMMENT ON VIEW analyst.unexplained_acquisitions IS
    'Acquisitions of watched tracks that nothing accounts for. Between runs this is empty; if it is not, tell the operators.';

CREATE VIEW analyst.refused_granules AS
SELECT
    track.site, track.name AS track, granule.date, granule.name AS granule, granule.state, granule.reason,
    granule.polarisation, granule.platform, granule.first_seen_at
FROM sagwatch.granule
JOIN sagwatch.track ON track.id = granule.track_id
WHERE granule.state <> 'chosen';
COMMENT ON VIEW analyst.refused_granules IS
    'Entries of the catalogue that were not used, and why: another polarisation, replaced by a newer processing.';
