-- Must raise if the change is not in place; must change nothing.
DO $$
BEGIN
    ASSERT (SELECT relrowsecurity FROM pg_class WHERE oid = 'tenure.sessions'::regclass),
           '0007: row-level security is off on tenure.sessions';
    ASSERT NOT EXISTS (SELECT FROM pg_class, aclexplode(relacl) a JOIN pg_roles r ON r.oid = a.grantee
                        WHERE pg_class.oid = 'tenure.sessions'::regclass
                          AND r.rolname IN ('tenure_app', 'tenure_reader')),
           '0007: sealed tokens could be read by somebody who does not refresh them';
    PERFORM refresh_hash, sent_at, fence, lease_until, ended_why, revoke_due FROM tenure.sessions LIMIT 0;
END $$;
