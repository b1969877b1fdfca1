CREATE VIEW analyst.freshness AS
SELECT
    track.site,
    track.name AS track,
    seen.last_acquisition AS last_acquisition_seen,
    seen.last_used AS last_acquisition_used,
    revision.epochs[cardinality(revision.epochs)] AS last_acquisition_shown,
    revision.number AS revision_number,
    revision.published_at,
    track.searched_at,
    track.searched_at::date - revision.epochs[cardinality(revision.epochs)] AS days_behind,
    seen.pending AS acquisitions_pending,
    (SELECT count(*) FROM analyst.epochs
        WHERE epochs.site = track.site AND epochs.track = track.name AND epochs.provisional) AS acquisitions_provisional,
    analyst.any_provisional(revision.troposphere, revision.orbits) AS provisional,
    (SELECT count(*) FROM analyst.open_jobs WHERE open_jobs.site = track.site AND open_jobs.track = track.name)
        AS jobs_waiting,
    (SELECT count(*) FROM analyst.pairs_without_job waiting
        WHERE waiting.site = track.site AND waiting.track = track.name) AS pairs_waiting
FROM sagwatch.track
JOIN sagwatch.site ON site.name = track.site
LEFT JOIN sagwatch.revision ON revision.id = track.head_revision_id
LEFT JOIN LATERAL (
    SELECT max(acquisition.date) AS last_acquisition,
        max(acquisition.date) FILTER (WHERE acquisition.state = 'used') AS last_used,
        count(*) FILTER (WHERE acquisition.state = 'pending') AS pending
    FROM sagwatch.acquisition WHERE acquisition.track_id = track.id
) AS seen ON true
WHERE site.archived_at IS NULL AND track.archived_at IS NULL;
COMMENT ON VIEW analyst.freshness IS
    'How up to date every watched track is. Silence is not safety: look here before concluding that nothing moves.';
COMMENT ON COLUMN analyst.freshness.days_behind IS
    'Days from the newest acquisition that is shown to the last look into the catalogue; Sentinel-1 comes every 6 or 12 days.';
COMMENT ON COLUMN analyst.freshness.provisional IS 'True: the newest results stand on input that will be replaced; analyst.epochs says which acquisitions, and why.';
COMMENT ON COLUMN analyst.freshness.searched_at IS 'Last complete answer of the catalogue. Long ago: monitoring does not run.';
