-- The application's role reads and adds to the log, and owns what can be thrown away.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sauro_app') THEN
        CREATE ROLE sauro_app NOLOGIN;
    END IF;
END
$$;
GRANT sauro_app TO CURRENT_USER;

GRANT USAGE ON SCHEMA log TO sauro_app;
GRANT SELECT, INSERT ON log.events, log.receipts, log.texts TO sauro_app;

CREATE SCHEMA read AUTHORIZATION sauro_app;
DO $$
BEGIN
    EXECUTE format('GRANT CREATE ON DATABASE %I TO sauro_app', current_database());
END
$$;
