-- Loses   the inbox, the marks, the audit log and the news. Back them up first: `pg_dump -n tenure`.
SET LOCAL lock_timeout = '2s';

DROP TABLE tenure.sweeps, tenure.leases, tenure.budgets, tenure.news;
DROP FUNCTION tenure.audit_digest(bytea, tenure.audit_log);
DROP TABLE tenure.audit_log, tenure.audit_heads, tenure.subjects, tenure.inbox;
DROP FUNCTION tenure.audit_refuse(), tenure.audit_link();
