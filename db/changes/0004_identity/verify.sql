-- Must raise if the change is not in place; must change nothing.
DO $$
DECLARE
    tenant text;
BEGIN
    PERFORM id, name, slug, deleted_at FROM tenure.organizations LIMIT 0;
    PERFORM id, email, name, deleted_at FROM tenure.users LIMIT 0;
    PERFORM provider, external_id, org_id, user_id FROM tenure.identities LIMIT 0;
    PERFORM org_id, user_id, role, status, holds_seat FROM tenure.memberships LIMIT 0;
    FOREACH tenant IN ARRAY ARRAY['organizations', 'users', 'identities', 'memberships'] LOOP
        ASSERT (SELECT relrowsecurity FROM pg_class WHERE oid = ('tenure.' || tenant)::regclass),
               '0004: row-level security is off on tenure.' || tenant;
    END LOOP;
END $$;
