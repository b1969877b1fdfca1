-- Each role has only what it needs; re-applied by every `python -m sagwatch migrate`.
DO $$
BEGIN
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO sagwatch_loader, sagwatch_sender, sagwatch_web, '
                   'sagwatch_analyst', current_database());
    -- A publication stages its current values in a temporary table.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO sagwatch_loader', current_database());
END
$$;

REVOKE ALL ON SCHEMA sagwatch, analyst FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA sagwatch, analyst FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sagwatch, analyst FROM PUBLIC;

-- The steps. Nothing is ever deleted; events and judgements are only inserted.
GRANT USAGE ON SCHEMA sagwatch, analyst TO sagwatch_loader;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA sagwatch TO sagwatch_loader;
REVOKE UPDATE ON
    sagwatch.alert_event, sagwatch.judgement, sagwatch.published_revision, sagwatch.credit_reading,
    sagwatch.alert_rule, sagwatch.influence, sagwatch.weather_delay, sagwatch.reference_candidate,
    sagwatch.reference_change
FROM sagwatch_loader;
REVOKE INSERT, UPDATE ON sagwatch.alembic_version FROM sagwatch_loader;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA sagwatch TO sagwatch_loader;
-- Where as_superuser.sql took these from PUBLIC, the owner may hand them on.
GRANT EXECUTE ON FUNCTION
    pg_catalog.pg_advisory_xact_lock(bigint), pg_catalog.pg_try_advisory_xact_lock(bigint)
TO sagwatch_loader;
GRANT SELECT ON ALL TABLES IN SCHEMA analyst TO sagwatch_loader;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA analyst TO sagwatch_loader;

-- The sender of messages sees the outbox and may note what became of it; it cannot change what was written.
GRANT USAGE ON SCHEMA sagwatch TO sagwatch_sender;
GRANT SELECT ON sagwatch.message, sagwatch.alembic_version TO sagwatch_sender;
GRANT UPDATE (state, attempts, lease_until, error, sent_at) ON sagwatch.message TO sagwatch_sender;

-- The web page reads.
GRANT USAGE ON SCHEMA sagwatch, analyst TO sagwatch_web;
GRANT SELECT ON ALL TABLES IN SCHEMA sagwatch, analyst TO sagwatch_web;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA analyst TO sagwatch_web;

-- People see views and functions of schema analyst, and no table.
GRANT USAGE ON SCHEMA analyst TO sagwatch_analyst;
GRANT SELECT ON ALL TABLES IN SCHEMA analyst TO sagwatch_analyst;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA analyst TO sagwatch_analyst;
