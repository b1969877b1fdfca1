CREATE VIEW analyst.alerts AS
SELECT
    track.site,
    track.name AS track,
    coalesce(zone.name, last_event.evidence ->> 'zone') AS zone,
    alert.zone_id,
    alert.id AS alert_id,
    alert.rule,
    coalesce(last_event.evidence ->> 'tell', 'page') AS tell,
    alert.episode,
    alert.state,
    alert.state IN ('raised', 'clearing') AS open,
    alert.level,
    alert.raised_epoch AS since,
    alert.last_epoch,
    alert.cleared_epoch,
    CASE
        WHEN alert.state NOT IN ('raised', 'clearing') OR snapshot.evidence ->> 'sentence' IS NULL THEN last_event.sentence
        WHEN alert.rule = 'R1' THEN format('Level %s since %s. %s', alert.level, alert.raised_epoch, snapshot.evidence ->> 'sentence')
        WHEN snapshot.evidence -> 'rules' ? alert.rule THEN
            format(
                'Level %s (%s) since %s. %s %s', alert.level, alert.rule, alert.raised_epoch,
                snapshot.evidence #>> ARRAY['rules', alert.rule], snapshot.evidence ->> 'sentence'
            )
        ELSE last_event.sentence
    END AS sentence,
    snapshot.epoch AS sentence_epoch,
    last_event.sentence AS last_event_sentence,
    last_event.evidence,
    last_event.evidence #>> '{place,asset}' AS nearest_asset,
    last_event.evidence #>> '{place,face}' AS nearest_face,
    last_event.evidence ->> 'stage' AS stage,
    last_event.type AS last_event,
    last_event.decided_at,
    last_message.subject AS last_message,
    last_message.state AS last_message_state,
    last_message.sent_at AS last_message_sent_at,
    snapshot.velocity_median_mm_yr,
    snapshot.velocity_p95_mm_yr,
    snapshot.velocity_sd_mm_yr,
    snapshot.window_days,
    snapshot.area_m2,
    snapshot.no_data_fraction,
    EXISTS (
        SELECT FROM analyst.epochs
        WHERE epochs.site = track.site AND epochs.track = track.name AND epochs.provisional
            AND epochs.date BETWEEN alert.last_epoch - 365 AND alert.last_epoch
    ) AS provisional,
    st_x(st_pointonsurface(snapshot.geom)) AS longitude,
    st_y(st_pointonsurface(snapshot.geom)) AS latitude,
    snapshot.geom
FROM sagwatch.alert
JOIN sagwatch.track ON track.id = alert.track_id
LEFT JOIN sagwatch.zone ON zone.id = alert.zone_id
LEFT JOIN LATERAL (
    SELECT event.sentence, event.type, event.decided_at, event.evidence FROM sagwatch.alert_event event
    WHERE event.alert_id = alert.id ORDER BY event.epoch DESC, event.decided_at DESC, event.id LIMIT 1
) AS last_event ON true
LEFT JOIN LATERAL (
    SELECT message.subject, message.state, message.sent_at FROM sagwatch.message
    WHERE message.alert_id = alert.id ORDER BY message.id DESC LIMIT 1
) AS last_message ON true
LEFT JOIN LATERAL (
    SELECT seen.* FROM sagwatch.zone_snapshot seen
    WHERE seen.zone_id = alert.zone_id ORDER BY seen.epoch DESC LIMIT 1
) AS snapshot ON true
WHERE alert.raised_epoch IS NOT NULL;

COMMENT ON VIEW analyst.alerts IS
    'Every alert that was ever raised, with its zone as last seen; velocities are line of sight, mm/yr. Open ones: WHERE open.';
COMMENT ON COLUMN analyst.alerts.sentence IS 'What is known now: while it is open, of the newest acquisition that showed the zone (sentence_epoch); after that, what was said when it ended.';
COMMENT ON COLUMN analyst.alerts.last_event_sentence IS 'What people were told last.';
COMMENT ON COLUMN analyst.alerts.rule IS 'R1 velocity, R1-history velocity of the whole record, R2 change of trend, R3 new zone, R4 acceleration, R5 displacement, R6 tilt at an asset, R7 blind spot, R8 health of the data.';
COMMENT ON COLUMN analyst.alerts.provisional IS 'True: an acquisition of the year up to last_epoch stands on input that will be replaced (see analyst.epochs).';
COMMENT ON COLUMN analyst.alerts.tell IS 'page: people got a message of its own; digest: a line of the monthly digest.';
COMMENT ON COLUMN analyst.alerts.since IS 'Acquisition that raised it.';
COMMENT ON COLUMN analyst.alerts.level IS 'Of R1, the step of the site''s ladder of velocities: 1 from -40 mm/yr, 2 from -100, 3 from -300, 4 from -600 by default.';
COMMENT ON COLUMN analyst.alerts.velocity_p95_mm_yr IS 'Of the fastest twentieth of the zone''s pixels, mm/yr.';

CREATE VIEW analyst.alert_history AS
SELECT
    track.site,
    track.name AS track,
    coalesce(zone.name, event.evidence ->> 'zone') AS zone,
    alert.zone_id,
    alert.rule,
    coalesce(event.evidence ->> 'told', event.evidence ->> 'tell', 'page') AS tell,
    event.alert_id,
    event.id AS event_id,
    event.epoch,
    event.type,
    event.from_state,
    event.to_state,
    event.from_level,
    event.to_level,
    event.sentence,
    event.evidence,
    revision.number AS revision_number,
    event.decided_at,
    analyst.any_provisional(revision.troposphere, revision.orbits) AS provisional
FROM sagwatch.alert_event event
JOIN sagwatch.alert ON alert.id = event.alert_id
LEFT JOIN sagwatch.zone ON zone.id = alert.zone_id
JOIN sagwatch.track ON track.id = event.track_id
JOIN sagwatch.revision ON revision.id = event.revision_id;
COMMENT ON VIEW analyst.alert_history IS
    'Everything that was ever decided about alerts, with the evidence; rows are never changed. epoch: when the ground moved; decided_at: when we learned it; provisional: some acquisitions of that revision stood on input that was replaced since, or will be.';

CREATE VIEW analyst.alert_rules AS
SELECT site, version, sha256 AS rules_sha256, valid_from, rules FROM sagwatch.alert_rule;
COMMENT ON VIEW analyst.alert_rules IS
    'Every version of a site''s alert rules that anything was judged with; rows are never changed. An event''s evidence names its rules_sha256.';
