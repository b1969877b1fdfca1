-- Who may do what; re-applied by every `python -m sagwatch migrate`. Login is given by password (see migrate.py).
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['sagwatch_loader', 'sagwatch_sender', 'sagwatch_web', 'sagwatch_analyst'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- roles belong to the server: a migration of a neighbouring database was faster
            END;
        END IF;
        -- The owner may become less than it is: the web page reads as sagwatch_web.
        IF NOT pg_has_role(current_user, role, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', role);
        END IF;
    END LOOP;
END
$$;
