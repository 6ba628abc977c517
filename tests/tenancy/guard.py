"""What a guarded schema looks like, asked of the catalog, so that no new table is forgotten."""

from typing import Any

import psycopg

Conn = psycopg.Connection[dict[str, Any]]

TENANT_TABLES = """
    SELECT c.relname AS name, c.relrowsecurity AS guarded, c.relkind::text AS kind,
           'security_invoker=true' = ANY (coalesce(c.reloptions, '{}')) AS asks_as_caller,
           array_agg(a.attname::text ORDER BY a.attname)
               FILTER (WHERE a.attname IN ('org_id', 'user_id')
                         AND a.atttypid = 'uuid'::regtype) AS owners
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
     WHERE c.relnamespace = 'tenure'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
     GROUP BY c.oid
    HAVING c.relname IN ('organizations', 'users')
        OR bool_or(a.attname IN ('org_id', 'user_id') AND a.atttypid = 'uuid'::regtype)
     ORDER BY 1
    """
# A provider's id is no owner that row-level security could ask for: nobody scoped may come near.
OPEN_BY_FOREIGN_ID = """
    SELECT DISTINCT c.relname AS name
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
     CROSS JOIN pg_roles r
     WHERE c.relnamespace = 'tenure'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND a.attname IN ('org_id', 'user_id') AND a.atttypid <> 'uuid'::regtype
       AND NOT a.attisdropped AND r.rolname IN ('tenure_app', 'tenure_reader')
       AND (has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
            OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE'))
     ORDER BY 1
    """
OPEN_TO_ALL = """
    WITH granted AS (
        SELECT 'schema ' || nspname AS what,
               aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS acl
          FROM pg_namespace WHERE nspname = 'tenure'
        UNION ALL
        SELECT 'relation ' || relname,
               aclexplode(coalesce(relacl, acldefault(
                   CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)))
          FROM pg_class WHERE relnamespace = 'tenure'::regnamespace
        UNION ALL
        SELECT 'column ' || relname || '.' || attname, aclexplode(attacl)
          FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
         WHERE relnamespace = 'tenure'::regnamespace
        UNION ALL
        SELECT 'function ' || proname, aclexplode(coalesce(proacl, acldefault('f', proowner)))
          FROM pg_proc WHERE pronamespace = 'tenure'::regnamespace
    )
    SELECT DISTINCT what || ': ' || (acl).privilege_type AS what
      FROM granted WHERE (acl).grantee = 0 ORDER BY 1
    """
RUNS_AS_OWNER = """
    SELECT p.oid::regprocedure::text || ' by ' || r.rolname AS what
      FROM pg_proc p CROSS JOIN pg_roles r
     WHERE pronamespace = 'tenure'::regnamespace AND prosecdef
       AND r.rolname IN ('tenure_app', 'tenure_reader')
       AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
       AND proname <> 'keep_knocks'  -- takes events in, gives nothing out
    """


def tenant_tables(conn: Conn) -> dict[str, list[str]]:
    """List every table that belongs to tenants, with the columns that say to whom."""
    return {row["name"]: row["owners"] or ["id"] for row in conn.execute(TENANT_TABLES)}


def unguarded(conn: Conn) -> list[str]:
    """List what would let one tenant see another: tables without row-level security and worse."""
    tables = [
        f"{row['name']} is not guarded"
        for row in conn.execute(TENANT_TABLES)
        if not (row["asks_as_caller"] if row["kind"] == "v" else row["guarded"])
    ]
    tables += [
        f"{row['name']} is open, and row-level security cannot guard it"
        for row in conn.execute(OPEN_BY_FOREIGN_ID)
    ]
    open_to_all = [f"PUBLIC has {row['what']}" for row in conn.execute(OPEN_TO_ALL)]
    as_owner = [f"runs as its owner: {row['what']}" for row in conn.execute(RUNS_AS_OWNER)]
    return tables + open_to_all + as_owner
