CREATE VIEW analyst.interferograms AS
SELECT
    track.site,
    track.name AS track,
    pair.reference_date,
    pair.secondary_date,
    accepted.id AS interferogram_id,
    original.id AS original_id,
    accepted.mean_coherence,
    accepted.valid_fraction,
    (original.unwrapping #>> '{bridge,components}')::int AS components,
    (original.unwrapping #>> '{bridge,pixels}')::int AS bridged_pixels,
    (original.unwrapping #>> '{closure,triangles}')::int AS triangles,
    (original.unwrapping #>> '{closure,share}')::double precision AS contradicting_share,
    coalesce((accepted.unwrapping #>> '{treated,masked}')::int, 0) AS masked_pixels,
    coalesce((accepted.unwrapping #>> '{treated,repaired}')::int, 0) AS repaired_pixels,
    accepted.made_at
FROM sagwatch.interferogram accepted
JOIN sagwatch.pair ON pair.id = accepted.pair_id
JOIN sagwatch.track ON track.id = pair.track_id
JOIN sagwatch.interferogram original ON original.id = coalesce(accepted.unwrapping ->> 'original', accepted.id)
WHERE accepted.state = 'accepted';
COMMENT ON VIEW analyst.interferograms IS
    'Every interferogram that results are made from, and what is known of its unwrapping errors (whole cycles of phase).';
COMMENT ON COLUMN analyst.interferograms.original_id IS 'As it was fetched; another than interferogram_id where pixels were masked or repaired.';
COMMENT ON COLUMN analyst.interferograms.components IS 'Connected components that bridging looked at; NULL where the site wants no bridging.';
COMMENT ON COLUMN analyst.interferograms.triangles IS 'Triangles of dates that hold this pair; NULL until the stack was updated.';
COMMENT ON COLUMN analyst.interferograms.contradicting_share IS 'Share of its pixels, 0 to 1, that a triangle contradicts by whole cycles, before anything is masked or repaired; NULL without a triangle.';
