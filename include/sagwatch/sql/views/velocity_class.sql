-- Xu's map of the Shaqu mines has bands with holes (-40 to -30, -10 to 0) and none for uplift; here every value falls into
-- exactly one class. The limits belong to the middle: -40 and -10 are moderate, 10 is stable.
CREATE FUNCTION analyst.velocity_class(velocity_mm_yr real) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN velocity_mm_yr IS NULL OR velocity_mm_yr = 'NaN' THEN 'unknown'
    WHEN velocity_mm_yr < -40 THEN 'high'
    WHEN velocity_mm_yr <= -10 THEN 'moderate'
    WHEN velocity_mm_yr <= 10 THEN 'stable'
    ELSE 'uplift'
END;
COMMENT ON FUNCTION analyst.velocity_class(real) IS
    'Class of a line-of-sight velocity in mm/yr after Xu''s map of the Shaqu mines, made total: high (below -40), moderate (-40 to -10), stable (above -10 to 10), uplift (above 10), unknown (no value).';

CREATE FUNCTION analyst.paper_class(velocity_mm_yr real) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN velocity_mm_yr < -40 THEN 'high'
    WHEN velocity_mm_yr BETWEEN -30 AND -10 THEN 'low to moderate'
    WHEN velocity_mm_yr BETWEEN -5 AND 5 THEN 'stable'
END;
COMMENT ON FUNCTION analyst.paper_class(real) IS
    'Xu''s three classes of the Shaqu mines as drawn: high (below -40 mm/yr), low to moderate (-30 to -10), stable (within 5); NULL in between and for uplift.';
