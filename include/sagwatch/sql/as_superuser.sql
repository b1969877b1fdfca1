-- What only a superuser can do in Sagwatch's database; run once, before `python -m sagwatch migrate`.
-- (A migration run by a superuser does it by itself.)
CREATE EXTENSION IF NOT EXISTS postgis;

-- Without these, anyone who may read could also fill the disk with large objects, or hold the migration's lock.
REVOKE EXECUTE ON FUNCTION
    pg_catalog.lo_creat(integer), pg_catalog.lo_create(oid), pg_catalog.lo_from_bytea(oid, bytea),
    pg_catalog.lo_put(oid, bigint, bytea), pg_catalog.lowrite(integer, bytea), pg_catalog.lo_open(oid, integer),
    pg_catalog.lo_unlink(oid)
FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION
    pg_catalog.pg_advisory_lock(bigint), pg_catalog.pg_advisory_lock(integer, integer),
    pg_catalog.pg_advisory_lock_shared(bigint), pg_catalog.pg_advisory_lock_shared(integer, integer),
    pg_catalog.pg_try_advisory_lock(bigint), pg_catalog.pg_try_advisory_lock(integer, integer),
    pg_catalog.pg_try_advisory_lock_shared(bigint), pg_catalog.pg_try_advisory_lock_shared(integer, integer),
    pg_catalog.pg_advisory_xact_lock(bigint), pg_catalog.pg_advisory_xact_lock(integer, integer),
    pg_catalog.pg_advisory_xact_lock_shared(bigint), pg_catalog.pg_advisory_xact_lock_shared(integer, integer),
    pg_catalog.pg_try_advisory_xact_lock(bigint), pg_catalog.pg_try_advisory_xact_lock(integer, integer),
    pg_catalog.pg_try_advisory_xact_lock_shared(bigint),
    pg_catalog.pg_try_advisory_xact_lock_shared(integer, integer)
FROM PUBLIC;
DO $$
BEGIN
    -- With grant option: grants.sql hands them on to the loader.
    EXECUTE format('GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock(bigint), '
                   'pg_catalog.pg_try_advisory_xact_lock(bigint) TO %I WITH GRANT OPTION',
                   (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()));
END
$$;
