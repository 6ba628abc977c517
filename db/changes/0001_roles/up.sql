-- 0001  The four roles and the schema that everything else lives in.
-- Locks     none on tables.
-- Roles     are made only when missing (they belong to the whole cluster), never with LOGIN:
--           grant tenure_app and tenure_worker to the role your service signs in with.
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '10s';

DO $$
DECLARE
    wanted  text;
    is_new  boolean := current_setting('server_version_num')::integer >= 160000;
    may_act text    := CASE WHEN is_new THEN 'SET' ELSE 'MEMBER' END;
    options text    := CASE WHEN is_new THEN 'WITH INHERIT TRUE, SET TRUE' ELSE '' END;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['tenure_owner', 'tenure_app', 'tenure_worker', 'tenure_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
        END IF;
        -- Without superuser (a hosted database) we may act as a role only as its member; and since
        -- Postgres 16 whoever makes a role may grant it, but neither act as it nor use its rights.
        IF NOT (pg_has_role(current_user, wanted, may_act) AND pg_has_role(current_user, wanted, 'USAGE')) THEN
            EXECUTE format('GRANT %I TO CURRENT_USER %s', wanted, options);
        END IF;
    END LOOP;
END $$;

CREATE SCHEMA IF NOT EXISTS tenure AUTHORIZATION tenure_owner;
REVOKE ALL ON SCHEMA tenure FROM PUBLIC;
GRANT USAGE ON SCHEMA tenure TO tenure_app, tenure_worker, tenure_reader;
GRANT USAGE ON SCHEMA tenure_changes TO tenure_app, tenure_worker, tenure_reader;
GRANT SELECT ON tenure_changes.log TO tenure_app, tenure_worker, tenure_reader;
COMMENT ON SCHEMA tenure IS 'Who, what was bought, and what was done about it';

SET LOCAL ROLE tenure_owner;

CREATE FUNCTION tenure.current_org() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('tenure.org_id', true), '')::uuid $$;
COMMENT ON FUNCTION tenure.current_org IS 'The organization this transaction was opened for';

CREATE FUNCTION tenure.current_person() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('tenure.user_id', true), '')::uuid $$;
COMMENT ON FUNCTION tenure.current_person IS 'The user this transaction was opened for';

-- A row belongs to an organization, or to one user when no organization is named.
CREATE FUNCTION tenure.is_mine(org uuid, person uuid) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT CASE WHEN org IS NOT NULL THEN org = tenure.current_org()
                      ELSE person = tenure.current_person() END $$;
COMMENT ON FUNCTION tenure.is_mine IS 'The one tenant test that every policy uses';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tenure FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tenure TO tenure_app, tenure_worker, tenure_reader;
