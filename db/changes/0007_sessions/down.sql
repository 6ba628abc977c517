-- Loses   every session that we keep: people sign in again.
SET LOCAL lock_timeout = '2s';

DROP TABLE tenure.sessions;
