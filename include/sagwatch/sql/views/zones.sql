CREATE VIEW analyst.zone_history AS
SELECT
    track.site,
    track.name AS track,
    zone.id AS zone_id,
    zone.name AS zone,
    snapshot.epoch,
    snapshot.area_m2,
    snapshot.pixels,
    snapshot.window_days,
    snapshot.velocity_median_mm_yr,
    snapshot.velocity_p95_mm_yr,
    snapshot.velocity_sd_mm_yr,
    snapshot.displacement_mm,
    snapshot.no_data_fraction,
    (snapshot.evidence ->> 'tilt_max_mm_m')::real AS tilt_max_mm_m,
    (snapshot.evidence ->> 'volume_m3')::real AS volume_m3,
    (snapshot.evidence ->> 'axis_deg')::real AS axis_deg,
    (snapshot.evidence ->> 'blind_share')::real AS blind_share,
    (snapshot.evidence ->> 'lower_bound')::boolean AS lower_bound,
    snapshot.evidence ->> 'evidence_class' AS evidence_class,
    snapshot.evidence ->> 'stage' AS stage,
    (snapshot.evidence ->> 'stage_since')::date AS stage_since,
    (snapshot.evidence ->> 'stage_confidence')::real AS stage_confidence,
    snapshot.evidence #>> '{place,asset}' AS nearest_asset,
    (snapshot.evidence #>> '{place,asset_m}')::real AS nearest_asset_m,
    snapshot.evidence #>> '{place,face}' AS nearest_face,
    (snapshot.evidence #>> '{place,face_m}')::real AS nearest_face_m,
    (snapshot.evidence #>> '{place,axis_to_advance_deg}')::real AS axis_to_advance_deg,
    (snapshot.evidence #>> '{place,inside_licence}')::boolean AS inside_licence,
    snapshot.evidence ->> 'sentence' AS sentence,
    snapshot.evidence,
    snapshot.geom,
    analyst.any_provisional(revision.troposphere, revision.orbits) AS provisional
FROM sagwatch.zone_snapshot snapshot
JOIN sagwatch.zone ON zone.id = snapshot.zone_id
JOIN sagwatch.track ON track.id = zone.track_id
LEFT JOIN sagwatch.judgement ON judgement.track_id = zone.track_id AND judgement.epoch = snapshot.epoch
LEFT JOIN sagwatch.revision ON revision.id = judgement.revision_id;
COMMENT ON VIEW analyst.zone_history IS 'Every zone as every acquisition showed it: how an area grew, moved and slowed.';
COMMENT ON COLUMN analyst.zone_history.provisional IS
    'True: it was judged on a revision in which some acquisitions stood on input that was replaced since, or will be.';

CREATE VIEW analyst.zones AS
SELECT
    track.site,
    track.name AS track,
    zone.id AS zone_id,
    zone.name AS zone,
    zone.born_epoch,
    zone.last_epoch,
    zone.ended_epoch,
    zone.ended_epoch IS NULL AND zone.merged_into IS NULL AS live,
    zone.episode,
    zone.parent_zone,
    zone.merged_into,
    newest.epoch AS seen_epoch,
    newest.area_m2,
    newest.pixels,
    newest.window_days,
    newest.velocity_median_mm_yr,
    newest.velocity_p95_mm_yr,
    newest.velocity_sd_mm_yr,
    newest.displacement_mm,
    newest.no_data_fraction,
    newest.tilt_max_mm_m,
    newest.volume_m3,
    newest.axis_deg,
    newest.blind_share,
    newest.lower_bound,
    newest.evidence_class,
    newest.stage,
    newest.stage_since,
    newest.stage_confidence,
    newest.nearest_asset,
    newest.nearest_asset_m,
    newest.nearest_face,
    newest.nearest_face_m,
    newest.axis_to_advance_deg,
    newest.inside_licence,
    newest.sentence,
    EXISTS (
        SELECT FROM analyst.epochs
        WHERE epochs.site = track.site AND epochs.track = track.name AND epochs.provisional
            AND epochs.date BETWEEN newest.epoch - 365 AND newest.epoch
    ) AS provisional,
    newest.geom
FROM sagwatch.zone
JOIN sagwatch.track ON track.id = zone.track_id
LEFT JOIN LATERAL (
    SELECT seen.* FROM analyst.zone_history seen WHERE seen.zone_id = zone.id ORDER BY seen.epoch DESC LIMIT 1
) AS newest ON true;
COMMENT ON VIEW analyst.zones IS
    'Areas that move or moved, each as it was last seen; velocities are line of sight, mm/yr. A zone is not yet an alert (see alerts).';

COMMENT ON COLUMN analyst.zones.tilt_max_mm_m IS 'Steepest gradient of the line-of-sight displacement over 3 x 3 pixels, mm per m.';
COMMENT ON COLUMN analyst.zones.provisional IS 'True: an acquisition of the year up to seen_epoch stands on input that will be replaced (see analyst.epochs).';
COMMENT ON COLUMN analyst.zones.volume_m3 IS 'Line-of-sight displacement since the record began times area, against quiet ground; negative: the ground went away. A lower bound where lower_bound.';
COMMENT ON COLUMN analyst.zones.axis_deg IS 'Direction of the long axis, 0 to 180 degrees from north over east; NULL where the zone is round.';
COMMENT ON COLUMN analyst.zones.blind_share IS 'Share of the zone, ringed holes included, without usable data now.';
COMMENT ON COLUMN analyst.zones.stage IS 'stable, initiation, acceleration, linear, decay, residual or cannot tell, from a piecewise fit.';
COMMENT ON COLUMN analyst.zones.axis_to_advance_deg IS 'Angle between the zone''s axis and the advance of the nearest face: 0 along, 90 across.';

CREATE VIEW analyst.mining_influence AS
SELECT
    track.site,
    track.name AS track,
    revision.number AS revision_number,
    influence.epoch,
    influence.limit_mm,
    influence.area_m2,
    track.head_revision_id = influence.revision_id AS current,
    analyst.any_provisional(revision.troposphere, revision.orbits) AS provisional,
    influence.geom
FROM sagwatch.influence
JOIN sagwatch.track ON track.id = influence.track_id
JOIN sagwatch.revision ON revision.id = influence.revision_id;
COMMENT ON VIEW analyst.mining_influence IS
    'How far mining reaches in each published revision: the contour of 10 mm of line-of-sight displacement since the record began, against quiet ground, round known zones and what stands out of the scene''s noise.';
