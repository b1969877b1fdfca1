CREATE VIEW analyst.pairs_without_job AS
SELECT
    track.site, track.name AS track, pair.id AS pair_id, pair.reference_date, pair.secondary_date, pair.why,
    pair.planned_at
FROM sagwatch.pair
JOIN sagwatch.track ON track.id = pair.track_id
WHERE pair.wanted AND pair.given_up_at IS NULL AND track.archived_at IS NULL
    AND NOT EXISTS (
        SELECT FROM sagwatch.job
        WHERE job.pair_id = pair.id AND job.state IN ('intended', 'open', 'succeeded')
    )
    AND NOT EXISTS (
        SELECT FROM sagwatch.interferogram
        WHERE interferogram.pair_id = pair.id AND interferogram.state IN ('accepted', 'excluded')
    );
COMMENT ON VIEW analyst.pairs_without_job IS
    'Pairs that are wanted and neither ordered nor there: waiting for credits, for a new attempt, or for the next run.';

CREATE VIEW analyst.pairs_given_up AS
SELECT
    track.site, track.name AS track, pair.id AS pair_id, pair.reference_date, pair.secondary_date,
    pair.given_up_at, pair.given_up_reason AS reason
FROM sagwatch.pair
JOIN sagwatch.track ON track.id = pair.track_id
WHERE pair.given_up_at IS NOT NULL;
COMMENT ON VIEW analyst.pairs_given_up IS 'Pairs that could not be made, and why.';

CREATE VIEW analyst.open_jobs AS
SELECT
    track.site, track.name AS track, job.name AS job, job.hyp3_id, job.attempt, job.state,
    pair.reference_date, pair.secondary_date, job.credits, job.intended_at, job.requested_at, job.expires_at,
    job.message
FROM sagwatch.job
JOIN sagwatch.pair ON pair.id = job.pair_id
JOIN sagwatch.track ON track.id = pair.track_id
WHERE job.state IN ('intended', 'open', 'succeeded');
COMMENT ON VIEW analyst.open_jobs IS
    'Orders at HyP3 that are not finished, or finished and not fetched yet (a product expires).';

CREATE VIEW analyst.unfinished_work AS
SELECT 'pair without job' AS kind, site, track, format('%s to %s', reference_date, secondary_date) AS subject,
    planned_at AS since
FROM analyst.pairs_without_job
UNION ALL
SELECT CASE state WHEN 'intended' THEN 'order not confirmed' WHEN 'open' THEN 'job running'
    ELSE 'product not fetched' END, site, track, format('%s (%s to %s)', job, reference_date, secondary_date),
    coalesce(requested_at, intended_at)
FROM analyst.open_jobs
UNION ALL
SELECT 'revision not live', track.site, track.name, format('revision %s', revision.number), revision.built_at
FROM sagwatch.revision
JOIN sagwatch.track ON track.id = revision.track_id
WHERE revision.state = 'built'
UNION ALL
SELECT 'message not sent', message.site, NULL, format('%s to %s: %s', message.channel, message.recipient, message.subject),
    message.created_at
FROM sagwatch.message
WHERE message.state IN ('waiting', 'sending');
COMMENT ON VIEW analyst.unfinished_work IS
    'The to-do list: everything that was begun and is not done, oldest first with ORDER BY since.';
