-- 0003  The queue that wakes the workers: procrastinate, in a schema of its own; and the way in.
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

-- Keeps events of one source, marks their subjects and wakes a worker, in one statement. It is a function for two
-- reasons. Its plan is made once for each connection, often while the tables are still small, and must
-- not scan them when they have grown: hence the settings. And no request may read the inbox.
CREATE FUNCTION tenure.keep_knocks(
    source text, account text, livemode boolean, event_ids text[], kinds text[],
    subject_kinds text[], subject_ids text[], notes text[], moments timestamptz[], bodies bytea[]
) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_material = off
    SET jit = off
    AS $$
#variable_conflict use_column
BEGIN
    WITH incoming AS (
        SELECT * FROM unnest(event_ids, kinds, subject_kinds, subject_ids, notes, moments, bodies)
                   AS t (event_id, kind, subject_kind, subject_id, note, occurred_at, body)
    ), fresh AS (
        SELECT * FROM incoming i
         WHERE NOT EXISTS (SELECT FROM tenure.inbox k
                            WHERE k.source = keep_knocks.source AND k.account = keep_knocks.account
                              AND k.livemode = keep_knocks.livemode AND k.event_id = i.event_id)
    ), wanted AS (
        SELECT DISTINCT subject_kind AS kind, subject_id AS id
          FROM fresh WHERE subject_kind IS NOT NULL
    ), waiting AS (
        SELECT s.kind, s.id, s.dirty_seq
          FROM wanted JOIN tenure.subjects s USING (kind, id)
         WHERE s.dirty_seq > s.claimed_seq
    ), marked AS (
        INSERT INTO tenure.subjects AS s (kind, id)
        SELECT kind, id FROM wanted
         WHERE (kind, id) NOT IN (SELECT kind, id FROM waiting)
         ORDER BY kind, id  -- everybody locks in this order: no deadlock
        ON CONFLICT (kind, id) DO UPDATE
           SET dirty_seq = s.dirty_seq + 1, marked_at = clock_timestamp()
        RETURNING s.kind, s.id, s.dirty_seq
    ), due AS (
        SELECT * FROM waiting UNION ALL SELECT * FROM marked
    ), kept AS (
        INSERT INTO tenure.inbox (source, account, livemode, event_id, kind, subject_kind,
                                  subject_id, seq, note, occurred_at, body)
        SELECT keep_knocks.source, keep_knocks.account, keep_knocks.livemode, f.event_id, f.kind,
               f.subject_kind, f.subject_id, d.dirty_seq, f.note, f.occurred_at, f.body
          FROM fresh f LEFT JOIN due d ON d.kind = f.subject_kind AND d.id = f.subject_id
         ORDER BY f.event_id  -- after every subject's lock
        ON CONFLICT DO NOTHING
    )
    INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, queueing_lock, args)
    SELECT 'reconcile:' || k.kind, 'reconcile', 'reconcile:' || k.kind,
           jsonb_build_object('kind', k.kind)
      FROM (SELECT DISTINCT subject_kind AS kind
              FROM incoming WHERE subject_kind IS NOT NULL) k
     WHERE NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs j
                        WHERE j.queueing_lock = 'reconcile:' || k.kind AND j.status = 'todo')
     ORDER BY k.kind
    ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING;
END $$;
COMMENT ON FUNCTION tenure.keep_knocks IS 'The only way into the inbox';
REVOKE ALL ON FUNCTION tenure.keep_knocks FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenure.keep_knocks TO tenure_app, tenure_worker;

GRANT USAGE ON SCHEMA procrastinate TO tenure_app, tenure_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA procrastinate TO tenure_worker;
GRANT SELECT, INSERT ON procrastinate.procrastinate_jobs, procrastinate.procrastinate_events TO tenure_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA procrastinate TO tenure_app, tenure_worker;
