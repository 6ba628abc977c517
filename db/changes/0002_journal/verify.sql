-- Must raise if the change is not in place; must change nothing.
DO $$
BEGIN
    PERFORM source, account, livemode, event_id, kind, subject_kind, subject_id, seq, note,
            occurred_at, received_at, body FROM tenure.inbox LIMIT 0;
    PERFORM dirty_seq, claimed_seq, settled_seq, fence, lease_until, attempts, retry_at, last_error
       FROM tenure.subjects LIMIT 0;
    PERFORM chain, seq, org_id, user_id, at, actor, action, subject, details, prev_hash, hash
       FROM tenure.audit_log LIMIT 0;
    PERFORM topic, org_id, user_id, payload, sent_at FROM tenure.news LIMIT 0;
    PERFORM name, next_free FROM tenure.budgets LIMIT 0;
    PERFORM name, holder, until FROM tenure.leases LIMIT 0;
    PERFORM source, reached FROM tenure.sweeps LIMIT 0;
    ASSERT (SELECT bool_and(relrowsecurity) FROM pg_class
             WHERE oid IN ('tenure.audit_log'::regclass, 'tenure.audit_heads'::regclass,
                           'tenure.news'::regclass)),
           '0002: row-level security is off on tenure.audit_log, audit_heads or news';
    ASSERT NOT has_column_privilege('tenure_app', 'tenure.inbox', 'body', 'SELECT'),
           '0002: client requests may read the events of others';
    ASSERT (SELECT count(*) = 2 FROM pg_trigger
             WHERE tgrelid = 'tenure.audit_log'::regclass AND tgenabled = 'O' AND NOT tgisinternal),
           '0002: the audit log is not guarded by its two triggers';
END $$;
