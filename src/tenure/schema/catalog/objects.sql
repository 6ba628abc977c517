-- What stands in our schemas, by kind and name. Arguments and definitions are not compared here:
-- each change's verify.sql says what must hold.
WITH ours AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('tenure', 'procrastinate')
)
SELECT 'table' AS kind, ours.nspname || '.' || relname AS name
  FROM pg_class JOIN ours ON ours.oid = relnamespace WHERE relkind IN ('r', 'p')
UNION ALL
SELECT 'view', ours.nspname || '.' || relname
  FROM pg_class JOIN ours ON ours.oid = relnamespace WHERE relkind IN ('v', 'm')
UNION ALL
SELECT 'index', ours.nspname || '.' || relname
  FROM pg_class JOIN ours ON ours.oid = relnamespace
  JOIN pg_index ON indexrelid = pg_class.oid AND indisvalid
UNION ALL
SELECT 'type', ours.nspname || '.' || typname
  FROM pg_type JOIN ours ON ours.oid = typnamespace LEFT JOIN pg_class ON pg_class.oid = typrelid
 WHERE typtype IN ('e', 'd', 'r') OR relkind = 'c'
UNION ALL
SELECT DISTINCT 'function', ours.nspname || '.' || proname
  FROM pg_proc JOIN ours ON ours.oid = pronamespace
UNION ALL
SELECT 'trigger', ours.nspname || '.' || relname || '.' || tgname
  FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN ours ON ours.oid = relnamespace
 WHERE NOT tgisinternal AND tgenabled <> 'D'
UNION ALL
SELECT 'policy', ours.nspname || '.' || relname || '.' || polname
  FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid JOIN ours ON ours.oid = relnamespace
UNION ALL
SELECT 'row-level security', ours.nspname || '.' || relname
  FROM pg_class JOIN ours ON ours.oid = relnamespace WHERE relrowsecurity
ORDER BY 1, 2
