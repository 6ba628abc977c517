-- One row for each thing that must hold for Supabase Auth to be a source of users; `wrong` is null
-- where it does; `alone`: nothing else needs to be told beside it; `old`: all works, only the text is
-- another one. Reads catalogs only, which every role may.
WITH hall AS (
    SELECT c.oid, c.relnamespace, c.relowner, c.relrowsecurity, c.relforcerowsecurity
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'auth' AND c.relname = 'users' AND c.relkind IN ('r', 'p')
), made AS (
    SELECT oid, obj_description(oid, 'pg_namespace') AS comment
      FROM pg_namespace WHERE nspname = 'tenure_supabase'
), marker AS (
    SELECT p.oid, p.proowner, p.prosecdef, p.proacl FROM pg_proc p JOIN made ON made.oid = p.pronamespace
     WHERE p.proname = 'mark_user'
), reader AS (
    SELECT p.oid, p.proowner, p.prosecdef, p.proacl FROM pg_proc p JOIN made ON made.oid = p.pronamespace
     WHERE p.proname = 'users_between'
), worker AS (
    SELECT oid FROM pg_roles WHERE rolname = 'tenure_worker'
), hooks AS (
    SELECT wanted AS name, t.tgenabled
      FROM unnest(ARRAY['tenure_user_came_or_went', 'tenure_user_changed']) AS wanted
      LEFT JOIN pg_trigger t ON t.tgname = wanted AND t.tgrelid = (SELECT oid FROM hall)
                            AND t.tgfoid = (SELECT oid FROM marker)
), written AS (  -- what the triggers write to
    SELECT wanted AS name, bool_or(has_table_privilege(m.proowner, c.oid, 'INSERT')) AS may
      FROM unnest(ARRAY['tenure.subjects', 'procrastinate.procrastinate_jobs']) AS wanted
     CROSS JOIN marker m
      LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace)
        ON n.nspname || '.' || c.relname = wanted
     GROUP BY 1
), strangers AS (  -- who else may call what runs as its owner
    SELECT f.oid, string_agg(coalesce(r.rolname, 'PUBLIC'), ', ' ORDER BY r.rolname) AS names
      FROM (SELECT * FROM marker UNION ALL SELECT * FROM reader) f
     CROSS JOIN aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
      LEFT JOIN pg_roles r ON r.oid = a.grantee
     WHERE a.grantee <> f.proowner
       AND NOT (f.oid IN (SELECT oid FROM reader) AND a.grantee = (SELECT oid FROM worker))
     GROUP BY 1
)
SELECT 'auth.users' AS name,
       CASE WHEN NOT EXISTS (SELECT FROM hall) THEN 'this database has none' END AS wrong,
       NOT EXISTS (SELECT FROM hall) AS alone, false AS old
UNION ALL
SELECT 'installed',
       CASE WHEN NOT EXISTS (SELECT FROM made) THEN 'nothing is installed'
            WHEN right(coalesce((SELECT comment FROM made), ''), length(%(digest)s)) <> %(digest)s
            THEN 'the text is that of another release' END,
       NOT EXISTS (SELECT FROM made), EXISTS (SELECT FROM made)
UNION ALL
SELECT 'trigger ' || name,
       CASE WHEN tgenabled IS NULL THEN 'it is missing'
            WHEN tgenabled NOT IN ('O', 'A') THEN 'it is disabled' END,
       false, false
  FROM hooks
UNION ALL
SELECT 'marking',
       CASE WHEN NOT EXISTS (SELECT FROM marker) THEN 'the function mark_user is missing'
            WHEN NOT (SELECT prosecdef FROM marker) THEN 'mark_user does not run as its owner'
            WHEN EXISTS (SELECT FROM strangers s JOIN marker USING (oid))
            THEN 'mark_user may be called by ' || (SELECT names FROM strangers JOIN marker USING (oid))
            WHEN EXISTS (SELECT FROM written WHERE may IS NOT TRUE)
            THEN 'mark_user cannot write ' ||
                 (SELECT string_agg(name, ', ' ORDER BY name) FROM written WHERE may IS NOT TRUE) END,
       false, false
UNION ALL
SELECT 'reading',
       CASE WHEN NOT EXISTS (SELECT FROM reader) THEN 'the function users_between is missing'
            WHEN NOT (SELECT prosecdef FROM reader) THEN 'users_between does not run as its owner'
            WHEN EXISTS (SELECT FROM strangers s JOIN reader USING (oid))
            THEN 'users_between may be called by ' || (SELECT names FROM strangers JOIN reader USING (oid))
            WHEN NOT coalesce((SELECT has_function_privilege(w.oid, r.oid, 'EXECUTE')
                                      AND has_schema_privilege(w.oid, m.oid, 'USAGE')
                                 FROM worker w, reader r, made m), false)
            THEN 'tenure_worker may not call users_between'
            WHEN NOT (SELECT has_schema_privilege(r.proowner, h.relnamespace, 'USAGE')
                             AND has_table_privilege(r.proowner, h.oid, 'SELECT')
                        FROM reader r, hall h)
            THEN 'the owner of users_between may not read auth.users'
            WHEN NOT (SELECT NOT h.relrowsecurity OR o.rolsuper OR o.rolbypassrls
                             OR (pg_has_role(r.proowner, h.relowner, 'USAGE') AND NOT h.relforcerowsecurity)
                        FROM reader r JOIN pg_roles o ON o.oid = r.proowner CROSS JOIN hall h)
            THEN 'row-level security hides the rows of auth.users from the owner of users_between' END,
       false, false
