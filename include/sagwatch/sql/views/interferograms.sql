CREATE VIEW analyst.interferograms AS
SELECT
    track.site, track.name AS track, pair.reference_date, pair.secondary_date,
    pair.secondary_date - pair.reference_date AS baseline_days, interferogram.perpendicular_baseline_m,
    interferogram.mean_coherence, interferogram.valid_fraction, interferogram.state, interferogram.reason,
    (original.unwrapping #>> '{bridge,components}')::int AS components,
    (original.unwrapping #>> '{bridge,pixels}')::int AS bridged_pixels,
    (original.unwrapping #>> '{closure,triangles}')::int AS triangles,
    (original.unwrapping #>> '{closure,share}')::double precision AS contradicting_share,
    coalesce((interferogram.unwrapping #>> '{treated,masked}')::int, 0) AS masked_pixels,
    coalesce((interferogram.unwrapping #>> '{treated,repaired}')::int, 0) AS repaired_pixels,
    interferogram.id AS interferogram_id, original.id AS original_id,
    interferogram.path, interferogram.made_at
FROM sagwatch.interferogram
JOIN sagwatch.pair ON pair.id = interferogram.pair_id
JOIN sagwatch.track ON track.id = pair.track_id
JOIN sagwatch.interferogram original
    ON original.id = coalesce(interferogram.unwrapping ->> 'original', interferogram.id);
COMMENT ON VIEW analyst.interferograms IS
    'Every interferogram on the track''s grid and what is known of its unwrapping errors (whole cycles of phase); results are made from the accepted ones, excluded and withdrawn ones have the reason.';
COMMENT ON COLUMN analyst.interferograms.original_id IS 'As it was fetched; another than interferogram_id where pixels were masked or repaired.';
COMMENT ON COLUMN analyst.interferograms.components IS 'Connected components that bridging joined; NULL where the site wants no bridging.';
COMMENT ON COLUMN analyst.interferograms.triangles IS 'Triangles of dates that hold this pair; NULL until the stack was updated with it.';
COMMENT ON COLUMN analyst.interferograms.contradicting_share IS 'Share of its pixels, 0 to 1, that a triangle contradicts by whole cycles, before anything is masked or repaired; NULL without a triangle.';
