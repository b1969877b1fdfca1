-- Defaults of the login role `analyst`. A session may change them: what protects the ledger is that nothing is granted.
GRANT sagwatch_analyst TO analyst;
ALTER ROLE analyst CONNECTION LIMIT 20;
ALTER ROLE analyst SET statement_timeout = '60s';
ALTER ROLE analyst SET idle_in_transaction_session_timeout = '10min';
ALTER ROLE analyst SET default_transaction_read_only = on;
ALTER ROLE analyst SET search_path = analyst, public;
