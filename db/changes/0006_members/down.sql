-- Loses   the history of memberships, limits set by hand, tombstones and decisions: back them up
--         first. Versions and seats come back with the next sweep.
SET LOCAL lock_timeout = '2s';

DROP TRIGGER seats_begin ON tenure.organizations;
DROP INDEX tenure.inbox_subject;
DROP TABLE tenure.walk_seen, tenure.walks, tenure.event_cursors, tenure.revoked_sessions,
           tenure.decisions, tenure.tombstones, tenure.seats, tenure.membership_history;
DROP FUNCTION tenure.history_refuse, tenure.seats_begin;
DROP INDEX tenure.memberships_listed, tenure.memberships_waiting, tenure.memberships_external;
ALTER TABLE tenure.memberships
    ALTER COLUMN holds_seat SET DEFAULT true,
    DROP CONSTRAINT wish_is_dated, DROP CONSTRAINT known_wish, DROP CONSTRAINT seat_while_here,
    DROP CONSTRAINT removed_is_over, DROP CONSTRAINT generation_counts,
    DROP COLUMN wished_by, DROP COLUMN wished_at, DROP COLUMN wish_role, DROP COLUMN wish,
    DROP COLUMN removed_at, DROP COLUMN joined_at, DROP COLUMN version, DROP COLUMN generation,
    DROP COLUMN external_id, DROP COLUMN provider;
ALTER TABLE tenure.identities DROP COLUMN seen_at, DROP COLUMN version;
ALTER TABLE tenure.users DROP COLUMN valid_after, DROP COLUMN blocked_until;
COMMENT ON COLUMN tenure.memberships.holds_seat IS NULL;
