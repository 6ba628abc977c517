-- Must raise if the change is not in place; must change nothing.
DO $$
DECLARE
    tenant text;
BEGIN
    FOREACH tenant IN ARRAY ARRAY['membership_history', 'seats', 'decisions'] LOOP
        ASSERT (SELECT relrowsecurity FROM pg_class WHERE oid = ('tenure.' || tenant)::regclass),
               '0006: row-level security is off on tenure.' || tenant;
    END LOOP;
    FOREACH tenant IN ARRAY ARRAY['organizations', 'users', 'memberships', 'membership_history', 'seats'] LOOP
        ASSERT NOT has_any_column_privilege('tenure_app', 'tenure.' || tenant, 'INSERT, UPDATE'),
               '0006: client requests may write tenure.' || tenant;
    END LOOP;
    ASSERT (SELECT count(*) = 1 FROM pg_constraint
             WHERE conrelid = 'tenure.seats'::regclass AND conname = 'within_limit'),
           '0006: an organization could use more seats than it has';
    ASSERT (SELECT count(*) = 1 FROM pg_trigger
             WHERE tgrelid = 'tenure.membership_history'::regclass AND tgname = 'history_refuse'),
           '0006: history could be changed';
    ASSERT NOT EXISTS (SELECT FROM tenure.organizations o
                        WHERE NOT EXISTS (SELECT FROM tenure.seats s WHERE s.org_id = o.id)),
           '0006: an organization has no row in tenure.seats';
END $$;
