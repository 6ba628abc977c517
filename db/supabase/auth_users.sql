-- Supabase Auth as a source of users: triggers on auth.users that only mark who changed, and a
-- function that shows the worker the few columns it reads. Run again, it replaces what it made.
-- Locks     SHARE ROW EXCLUSIVE on auth.users for a moment, ACCESS EXCLUSIVE where it replaces:
--           sign-ups wait that long, 2 s at most.
-- Needs     TRIGGER and SELECT on auth.users, and eyes past its row-level security, as the role
--           `postgres` of a hosted project has them; it need own nothing in auth.
-- Undo      auth_users.remove.sql; `tenure db supabase` runs both and checks.
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '30s';

DO $$
DECLARE
    missing text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname = 'auth' AND c.relname = 'users' AND c.relkind IN ('r', 'p')) THEN
        RAISE EXCEPTION 'this database has no auth.users'
            USING HINT = 'Let DATABASE_DIRECT_URL name the database of the Supabase project.';
    END IF;
    SELECT string_agg(wanted, ', ') INTO missing
      FROM unnest(ARRAY['tenure.subjects', 'procrastinate.procrastinate_jobs']) AS wanted
     WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE n.nspname || '.' || c.relname = wanted);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'there is no %', missing USING HINT = 'Run `tenure db apply` first.';
    END IF;
    IF NOT has_schema_privilege('auth', 'USAGE') OR NOT has_table_privilege('auth.users', 'TRIGGER')
       OR NOT has_table_privilege('auth.users', 'SELECT') THEN
        RAISE EXCEPTION '% may not read auth.users and make triggers on it', current_user
            USING HINT = 'Sign in as postgres, or as the owner of auth.users.';
    END IF;
    IF row_security_active('auth.users') THEN  -- on every project since June 2024, with no policy
        RAISE EXCEPTION 'row-level security hides the rows of auth.users from %', current_user
            USING HINT = 'Sign in as postgres, which has BYPASSRLS, or as the owner of auth.users.';
    END IF;
END $$;

-- With the function go its triggers: by themselves only the owner of auth.users could drop them.
DROP FUNCTION IF EXISTS tenure_supabase.mark_user() CASCADE;
DROP FUNCTION IF EXISTS tenure_supabase.users_between(uuid, uuid, integer);
CREATE SCHEMA IF NOT EXISTS tenure_supabase AUTHORIZATION tenure_owner;
REVOKE ALL ON SCHEMA tenure_supabase FROM PUBLIC;
GRANT USAGE ON SCHEMA tenure_supabase TO tenure_worker;

-- Nothing that goes wrong here may reach the sign-up that it runs inside of: what is not marked is
-- found by the next walk. Nor may one sign-up wait for another, which may be sending a mail: hence a
-- job without a queueing lock, which would be held until the sign-up commits.
CREATE FUNCTION tenure_supabase.mark_user() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '100ms'
    AS $$
DECLARE
    who record;
BEGIN
    BEGIN
        IF TG_OP = 'DELETE' THEN
            who := OLD;
        ELSE
            who := NEW;
        END IF;
        IF who.is_anonymous THEN
            RETURN NULL;  -- nobody yet: she is marked when she says who she is
        END IF;
        -- Even where she is due already: a look that began before we commit has not seen this.
        INSERT INTO tenure.subjects AS s (kind, id) VALUES ('supabase.user', who.id::text)
            ON CONFLICT (kind, id) DO UPDATE
               SET dirty_seq = s.dirty_seq + 1, marked_at = clock_timestamp();
        BEGIN
            INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, args)
            SELECT 'reconcile:supabase.user', 'reconcile', '{"kind": "supabase.user"}'
             WHERE NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs
                                WHERE queue_name = 'reconcile:supabase.user' AND status = 'todo');
        EXCEPTION WHEN OTHERS THEN
            RAISE LOG 'tenure: no worker was woken: % (%)', SQLERRM, SQLSTATE;  -- its next tick does
        END;
    EXCEPTION WHEN OTHERS THEN
        RAISE LOG 'tenure: a row of auth.users was not marked: % (%)', SQLERRM, SQLSTATE;
    END;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tenure_supabase.mark_user IS 'Marks a user dirty and wakes a worker; never fails, never waits long';
REVOKE ALL ON FUNCTION tenure_supabase.mark_user FROM PUBLIC;

CREATE TRIGGER tenure_user_came_or_went AFTER INSERT OR DELETE ON auth.users
    FOR EACH ROW EXECUTE FUNCTION tenure_supabase.mark_user();
-- A row is updated at every sign-in: only what we read counts. A ban, past or present, always does,
-- so that its end is seen when she signs in again.
CREATE TRIGGER tenure_user_changed AFTER UPDATE ON auth.users FOR EACH ROW
    WHEN (NEW.banned_until IS NOT NULL
          OR ROW (OLD.email, OLD.deleted_at, OLD.banned_until, OLD.is_anonymous,
                  OLD.raw_user_meta_data ->> 'full_name', OLD.raw_user_meta_data ->> 'name')
             IS DISTINCT FROM
             ROW (NEW.email, NEW.deleted_at, NEW.banned_until, NEW.is_anonymous,
                  NEW.raw_user_meta_data ->> 'full_name', NEW.raw_user_meta_data ->> 'name'))
    EXECUTE FUNCTION tenure_supabase.mark_user();
ALTER FUNCTION tenure_supabase.mark_user() OWNER TO tenure_owner;

-- Keeps the owner it is made by, who sees every row. Were that to change, row_security makes it an
-- error: an empty answer would mean that everybody is deleted. Planned without the table's size, it
-- must walk along the index, a page at a time.
CREATE FUNCTION tenure_supabase.users_between(first uuid, last uuid, most integer)
    RETURNS TABLE (id uuid, email text, name text, banned_until timestamptz,
                   created_at timestamptz, updated_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET row_security = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_sort = off
    AS $$
    SELECT u.id, nullif(u.email, ''),
           -- what she wrote of herself: for display only, and cut where it is long
           nullif(left(btrim(coalesce(nullif(u.raw_user_meta_data ->> 'full_name', ''),
                                      u.raw_user_meta_data ->> 'name')), 200), ''),
           -- no infinity: not every client can read it
           CASE WHEN u.banned_until IS NOT NULL THEN least(u.banned_until, '9999-12-31Z') END,
           least(greatest(coalesce(u.created_at, 'epoch'), 'epoch'), '9999-12-31Z'),
           least(greatest(coalesce(u.updated_at, u.created_at, 'epoch'), 'epoch'), '9999-12-31Z')
      FROM auth.users u
     WHERE u.id >= first AND u.id <= last AND u.deleted_at IS NULL AND NOT u.is_anonymous
     ORDER BY u.id LIMIT most
    $$;
COMMENT ON FUNCTION tenure_supabase.users_between IS 'Who has an account: nobody who is deleted, softly too, or anonymous';
REVOKE ALL ON FUNCTION tenure_supabase.users_between FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenure_supabase.users_between TO tenure_worker;
