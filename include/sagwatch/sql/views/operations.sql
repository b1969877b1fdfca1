CREATE VIEW analyst.messages AS
SELECT
    message.id, message.site, message.kind, message.channel, message.recipient, message.subject, message.state,
    message.attempts, message.error, message.created_at, message.sent_at, message.alert_id, message.event_id,
    message.message_id, message.body_text
FROM sagwatch.message;
COMMENT ON VIEW analyst.messages IS 'What was told to whom, and what still waits.';

CREATE VIEW analyst.credits AS
SELECT
    track.site,
    date_trunc('month', job.requested_at AT TIME ZONE 'UTC')::date AS month,
    count(*) AS orders,
    sum(job.credits) AS credits_spent,
    (site.config #>> '{credits,per_month}')::int AS budget_per_month
FROM sagwatch.job
JOIN sagwatch.pair ON pair.id = job.pair_id
JOIN sagwatch.track ON track.id = pair.track_id
JOIN sagwatch.site ON site.name = track.site
WHERE job.requested_at IS NOT NULL
GROUP BY track.site, month, site.config;
COMMENT ON VIEW analyst.credits IS
    'HyP3 credits that each site''s orders cost, by calendar month (UTC) of the order, beside the site''s budget of today. Failed jobs are paid too; an order that HyP3 refused costs nothing.';

CREATE VIEW analyst.credit_readings AS
SELECT read_at, remaining FROM sagwatch.credit_reading;
COMMENT ON VIEW analyst.credit_readings IS 'What HyP3 said was left on the account; NULL: no limit.';

CREATE VIEW analyst.quarantine AS
SELECT
    track.site, track.name AS track, pair.reference_date, pair.secondary_date, product.file_name, product.reason,
    product.bytes, product.sha256, product.kept_at, product.fetched_at
FROM sagwatch.product
JOIN sagwatch.pair ON pair.id = product.pair_id
JOIN sagwatch.track ON track.id = pair.track_id
WHERE product.state = 'quarantined';
COMMENT ON VIEW analyst.quarantine IS 'Products that must not touch a stack, why, and where they are kept (in the data folder).';

CREATE VIEW analyst.interferograms AS
SELECT
    track.site, track.name AS track, pair.reference_date, pair.secondary_date,
    pair.secondary_date - pair.reference_date AS baseline_days, interferogram.perpendicular_baseline_m,
    interferogram.mean_coherence, interferogram.valid_fraction, interferogram.state, interferogram.reason,
    (interferogram.unwrapping ->> 'components')::int AS components,
    (interferogram.unwrapping ->> 'bridged_pixels')::int AS bridged_pixels,
    (interferogram.unwrapping #>> '{closure,triplets}')::int AS triplets,
    (interferogram.unwrapping #>> '{closure,contradicting_share}')::float AS contradicting_share,
    (interferogram.unwrapping #>> '{decision,ambiguous}')::int AS ambiguous_pixels,
    (interferogram.unwrapping #>> '{decision,masked}')::int AS masked_pixels,
    (interferogram.unwrapping #>> '{decision,repaired}')::int AS repaired_pixels,
    interferogram.id AS interferogram, interferogram.original_id AS original,
    interferogram.path, interferogram.made_at
FROM sagwatch.interferogram
JOIN sagwatch.pair ON pair.id = interferogram.pair_id
JOIN sagwatch.track ON track.id = pair.track_id;
COMMENT ON VIEW analyst.interferograms IS 'Every interferogram on the track''s grid; excluded and withdrawn ones with the reason.';
COMMENT ON COLUMN analyst.interferograms.components IS
    'Connected components of the unwrapping that bridging joined; empty where the site does not ask for it.';
COMMENT ON COLUMN analyst.interferograms.triplets IS
    'Triangles of dates that it stands in, each with its three interferograms; NULL until the stack was updated with it, or where the site does not look (closure: off).';
COMMENT ON COLUMN analyst.interferograms.contradicting_share IS
    'Share of the pixels on land of these triangles, 0 to 1, that miss by a whole cycle or more; NULL without a triangle.';
COMMENT ON COLUMN analyst.interferograms.ambiguous_pixels IS
    'Pixels where it may be at fault, or one of its neighbours, and nothing is done; NULL where the site does not ask for treatment.';
COMMENT ON COLUMN analyst.interferograms.original IS
    'It stands for this one, as it was fetched: masked_pixels are left out, from repaired_pixels whole cycles are taken away.';

CREATE VIEW analyst.revisions AS
SELECT
    track.site, track.name AS track, revision.number, revision.id AS revision_id, revision.state,
    cardinality(revision.interferograms) AS interferograms, cardinality(revision.epochs) AS acquisitions,
    revision.epochs[1] AS first_epoch, revision.epochs[cardinality(revision.epochs)] AS last_epoch,
    revision.built_at, revision.published_at, revision.folder
FROM sagwatch.revision
JOIN sagwatch.track ON track.id = revision.track_id;
COMMENT ON VIEW analyst.revisions IS 'Every solution of every track; folder is the MintPy folder, below the data folder.';

CREATE VIEW analyst.pipeline_events AS
SELECT at, site, track_id, severity, kind, text, details FROM sagwatch.operation_event;
COMMENT ON VIEW analyst.pipeline_events IS 'News about the pipeline, never about the ground: faults, credits, changed site files.';

CREATE VIEW analyst.audits AS
SELECT
    event.at, event.site, event.track_id, event.severity = 'info' AS equals_mintpy, event.text,
    revision.number AS revision_number,
    (event.details ->> 'pixels')::int AS pixels, (event.details ->> 'of_pixels')::int AS of_pixels,
    (event.details ->> 'seed')::bigint AS seed,
    (event.details ->> 'whole_max_mm')::float AS displacement_mm, (event.details ->> 'allowed_mm')::float AS allowed_mm,
    (event.details ->> 'torn_max_mm')::float AS displacement_torn_mm,
    (event.details ->> 'allowed_torn_mm')::float AS allowed_torn_mm,
    (event.details ->> 'velocity_max_mm_yr')::float AS velocity_mm_yr,
    (event.details ->> 'allowed_mm_yr')::float AS allowed_mm_yr,
    (event.details ->> 'counts_that_differ')::int AS counts_that_differ
FROM sagwatch.operation_event AS event
LEFT JOIN sagwatch.revision ON revision.id = event.details ->> 'revision_id'
WHERE event.kind = 'audit';
COMMENT ON VIEW analyst.audits IS
    'Every audit of a published revision: the largest difference of any pixel to MintPy''s own programs, beside what is allowed. No numbers: a file was not what its hash says, or MintPy failed; text tells.';
COMMENT ON COLUMN analyst.audits.seed IS 'Of the random sample of pixels that was compared; NULL: all of them.';
