-- Loses   jobs that wait. Nothing is forgotten: what is due stands in tenure.subjects.
SET LOCAL lock_timeout = '2s';

DROP FUNCTION tenure.keep_knocks;
DROP SCHEMA procrastinate CASCADE;
