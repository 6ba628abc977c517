-- Loses   nothing: the tables are gone by now. Refuses where something else stands in the schema.
-- Keeps   the four roles: other databases of the cluster may use them.
SET LOCAL lock_timeout = '2s';

DROP FUNCTION tenure.is_mine(uuid, uuid);
DROP FUNCTION tenure.current_person();
DROP FUNCTION tenure.current_org();
DROP SCHEMA tenure;
REVOKE ALL ON ALL TABLES IN SCHEMA tenure_changes FROM tenure_app, tenure_worker, tenure_reader;
REVOKE ALL ON SCHEMA tenure_changes FROM tenure_app, tenure_worker, tenure_reader;
