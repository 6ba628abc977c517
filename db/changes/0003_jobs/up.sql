-- 0003  The queue that wakes the workers: procrastinate, in a schema of its own.
-- Locks     none: only new objects.
-- The line that starts with "include" is replaced by the SQL of the installed library, which is
-- not copied here. Its functions get a search_path, so that a job can be deferred from any session.
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '30s';

CREATE SCHEMA procrastinate AUTHORIZATION tenure_owner;
COMMENT ON SCHEMA procrastinate IS 'Jobs that wake Tenure''s workers; the rows in tenure carry what is due';
SET LOCAL ROLE tenure_owner;
SET LOCAL search_path = procrastinate, pg_temp;

-- include: procrastinate

DO $$
DECLARE
    made regprocedure;
BEGIN
    FOR made IN SELECT oid FROM pg_proc WHERE pronamespace = 'procrastinate'::regnamespace LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = procrastinate, pg_temp', made);
    END LOOP;
END $$;

GRANT USAGE ON SCHEMA procrastinate TO tenure_app, tenure_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA procrastinate TO tenure_worker;
GRANT SELECT, INSERT ON procrastinate.procrastinate_jobs, procrastinate.procrastinate_events TO tenure_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA procrastinate TO tenure_app, tenure_worker;
