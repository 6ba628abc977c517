-- 0006  Who, kept in agreement with the provider: versions, tombstones, history, seats, decisions.
-- Locks     ACCESS EXCLUSIVE on users, identities and memberships for a moment (new columns without
--           a rewrite; the checks scan memberships), SHARE on inbox while its partial index is
--           built: events wait that long, and the providers send them again.
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE tenure_owner;

ALTER TABLE tenure.users
    ADD COLUMN blocked_until timestamptz,
    ADD COLUMN valid_after   timestamptz;
COMMENT ON COLUMN tenure.users.blocked_until IS 'Banned by the provider until then; infinity: until further notice';
COMMENT ON COLUMN tenure.users.valid_after IS 'Session tokens issued before are refused';

ALTER TABLE tenure.identities
    ADD COLUMN version timestamptz,
    ADD COLUMN seen_at timestamptz;
COMMENT ON COLUMN tenure.identities.version IS 'The provider''s updated_at that our row shows; null: only named so far, never seen itself';
COMMENT ON COLUMN tenure.identities.seen_at IS 'When the provider last showed it to us, by our clock';

ALTER TABLE tenure.memberships
    ADD COLUMN provider    text,
    ADD COLUMN external_id text,
    ADD COLUMN generation  integer NOT NULL DEFAULT 1,
    ADD COLUMN version     timestamptz,
    ADD COLUMN joined_at   timestamptz,
    ADD COLUMN removed_at  timestamptz,
    ADD COLUMN wish        text,
    ADD COLUMN wish_role   text,
    ADD COLUMN wished_at   timestamptz,
    ADD COLUMN wished_by   text,
    ALTER COLUMN holds_seat SET DEFAULT false;  -- a seat is taken in tenure.seats, or not at all
UPDATE tenure.memberships m SET holds_seat = false WHERE status = 'inactive' AND holds_seat;
UPDATE tenure.memberships m
   SET provider = (SELECT min(i.provider) FROM tenure.identities i WHERE i.user_id = m.user_id);
ALTER TABLE tenure.memberships
    ADD CONSTRAINT generation_counts  CHECK (generation >= 1),
    ADD CONSTRAINT removed_is_over    CHECK (removed_at IS NULL OR status = 'inactive'),
    ADD CONSTRAINT seat_while_here    CHECK (NOT holds_seat OR status IN ('pending', 'active')),
    ADD CONSTRAINT known_wish         CHECK (wish IN ('active', 'inactive', 'removed')),
    ADD CONSTRAINT wish_is_dated      CHECK ((wish IS NULL AND wish_role IS NULL) OR wished_at IS NOT NULL);
CREATE UNIQUE INDEX memberships_external ON tenure.memberships (provider, external_id)
    WHERE external_id IS NOT NULL;
CREATE INDEX memberships_waiting ON tenure.memberships (org_id, created_at)
    WHERE NOT holds_seat AND status IN ('pending', 'active');
CREATE INDEX memberships_listed ON tenure.memberships (org_id, created_at, id);
COMMENT ON COLUMN tenure.memberships.external_id IS 'The provider''s id of this generation; null while only a token told of it';
COMMENT ON COLUMN tenure.memberships.generation IS 'Raised whenever the person joins again';
COMMENT ON COLUMN tenure.memberships.version IS 'The provider''s updated_at that this row shows';
COMMENT ON COLUMN tenure.memberships.joined_at IS 'The provider''s created_at of this generation';
COMMENT ON COLUMN tenure.memberships.removed_at IS 'Since when the person is no member any more; the row stays, so that nothing brings it back by accident';
COMMENT ON COLUMN tenure.memberships.wish IS 'What we want the provider to make of it; null once it has';
COMMENT ON COLUMN tenure.memberships.holds_seat IS 'False for a member beyond the limit, or one who is not here';

CREATE TABLE tenure.membership_history (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id        uuid        NOT NULL REFERENCES tenure.organizations ON DELETE RESTRICT,
    user_id       uuid        NOT NULL REFERENCES tenure.users ON DELETE RESTRICT,
    membership_id uuid        NOT NULL REFERENCES tenure.memberships ON DELETE RESTRICT,
    provider      text,
    external_id   text,
    generation    integer     NOT NULL,
    status_from   text,
    status_to     text        NOT NULL CHECK (status_to IN ('pending', 'active', 'inactive', 'removed')),
    role_from     text,
    role_to       text        NOT NULL,
    seat_from     boolean,
    seat_to       boolean     NOT NULL,
    cause         text        NOT NULL,
    provider_at   timestamptz,
    at            timestamptz NOT NULL
);
CREATE INDEX membership_history_of ON tenure.membership_history (membership_id, id);
CREATE INDEX membership_history_external ON tenure.membership_history (provider, external_id);
CREATE INDEX membership_history_org ON tenure.membership_history (org_id, id);
CREATE INDEX membership_history_user ON tenure.membership_history (user_id);
COMMENT ON TABLE  tenure.membership_history IS 'Every change of every membership, append-only, by the provider''s id';
COMMENT ON COLUMN tenure.membership_history.cause IS 'What made us write it: look, event, token, api, seats, org_deleted, user_deleted';
COMMENT ON COLUMN tenure.membership_history.provider_at IS 'When it happened, as the provider says';

CREATE FUNCTION tenure.history_refuse() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'tenure.membership_history is append-only'
        USING ERRCODE = 'insufficient_privilege', HINT = 'Add a line that corrects the older one.';
END $$;
CREATE TRIGGER history_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON tenure.membership_history
    FOR EACH STATEMENT EXECUTE FUNCTION tenure.history_refuse();

CREATE TABLE tenure.seats (
    org_id     uuid        PRIMARY KEY REFERENCES tenure.organizations ON DELETE RESTRICT,
    bought     integer     CHECK (bought >= 0),
    fixed      integer     CHECK (fixed >= 0),
    seat_limit integer     GENERATED ALWAYS AS (coalesce(fixed, bought)) STORED,
    used       integer     NOT NULL DEFAULT 0 CHECK (used >= 0),
    version    bigint      NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT within_limit CHECK (seat_limit IS NULL OR used <= seat_limit)
);
COMMENT ON TABLE  tenure.seats IS 'The row that every change of a membership updates: here the race for seats ends';
COMMENT ON COLUMN tenure.seats.bought IS 'Seats that the subscription pays for; null: it does not count seats';
COMMENT ON COLUMN tenure.seats.fixed IS 'A limit set by hand, which beats what was bought';
COMMENT ON COLUMN tenure.seats.seat_limit IS 'The limit that holds; null: none';
COMMENT ON COLUMN tenure.seats.used IS 'Memberships that hold a seat: pending and active ones';
COMMENT ON COLUMN tenure.seats.version IS 'Raised by every change, so that an older number never overwrites a newer one';
INSERT INTO tenure.seats (org_id, used)
SELECT o.id, count(m.id) FILTER (WHERE m.holds_seat)
  FROM tenure.organizations o LEFT JOIN tenure.memberships m ON m.org_id = o.id GROUP BY o.id;

CREATE FUNCTION tenure.seats_begin() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO tenure.seats (org_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER seats_begin AFTER INSERT ON tenure.organizations
    FOR EACH ROW EXECUTE FUNCTION tenure.seats_begin();

CREATE TABLE tenure.tombstones (
    provider    text        NOT NULL,
    kind        text        NOT NULL CHECK (kind IN ('user', 'org', 'membership', 'pair')),
    external_id text        NOT NULL,
    deleted_at  timestamptz NOT NULL,
    proof       text        NOT NULL CHECK (proof IN ('event', 'asked')),
    written_at  timestamptz NOT NULL,
    PRIMARY KEY (provider, kind, external_id)
);
COMMENT ON TABLE  tenure.tombstones IS 'What a provider has deleted; kept for ever, so that nothing late brings it back';
COMMENT ON COLUMN tenure.tombstones.external_id IS 'The provider''s id; of a pair: organization and user, with a slash between';
COMMENT ON COLUMN tenure.tombstones.deleted_at IS 'When, by the provider''s clock; by ours where it was found by asking';
COMMENT ON COLUMN tenure.tombstones.proof IS 'event: a signed event said so, final; asked: the provider did not have it when we asked';

CREATE TABLE tenure.decisions (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject_kind text        NOT NULL,
    subject_id   text        NOT NULL,
    seq          bigint,
    verdict      text        NOT NULL CHECK (verdict IN ('applied', 'unchanged', 'ignored')),
    reason       text        NOT NULL,
    org_id       uuid,
    user_id      uuid,
    details      jsonb       NOT NULL DEFAULT '{}',
    at           timestamptz NOT NULL
);
CREATE INDEX decisions_subject ON tenure.decisions (subject_kind, subject_id, id);
CREATE INDEX decisions_org  ON tenure.decisions (org_id, id)  WHERE org_id IS NOT NULL;
CREATE INDEX decisions_user ON tenure.decisions (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX decisions_at ON tenure.decisions USING brin (at);
COMMENT ON TABLE  tenure.decisions IS 'What was made of every look, and why; kept for a time';
COMMENT ON COLUMN tenure.decisions.seq IS 'The subject''s dirty_seq that the look settled: events up to it led here';

CREATE TABLE tenure.revoked_sessions (
    provider   text        NOT NULL,
    session_id text        NOT NULL,
    user_id    text        NOT NULL,
    revoked_at timestamptz NOT NULL,
    PRIMARY KEY (provider, session_id)
);
CREATE INDEX revoked_sessions_user ON tenure.revoked_sessions (provider, user_id);
CREATE INDEX revoked_sessions_at ON tenure.revoked_sessions (revoked_at);
COMMENT ON TABLE  tenure.revoked_sessions IS 'Sessions that ended before their tokens did';
COMMENT ON COLUMN tenure.revoked_sessions.user_id IS 'The provider''s id';

CREATE TABLE tenure.event_cursors (
    provider   text        PRIMARY KEY,
    cursor     text,
    event_at   timestamptz,
    moved_at   timestamptz NOT NULL,
    lost_at    timestamptz
);
COMMENT ON TABLE  tenure.event_cursors IS 'How far a provider''s list of events was read; moved by the poller alone';
COMMENT ON COLUMN tenure.event_cursors.cursor IS 'The id of the last event kept';
COMMENT ON COLUMN tenure.event_cursors.lost_at IS 'When the provider did not know the cursor any more; null once recovered';

CREATE TABLE tenure.walks (
    provider   text        PRIMARY KEY,
    run        uuid        NOT NULL,
    phase      text        NOT NULL CHECK (phase IN ('users', 'organizations', 'memberships', 'ended')),
    place      text,
    counts     jsonb       NOT NULL DEFAULT '{}',
    began_at   timestamptz NOT NULL,
    moved_at   timestamptz NOT NULL
);
COMMENT ON TABLE  tenure.walks IS 'How far the newest walk through everything at a provider has come';
COMMENT ON COLUMN tenure.walks.place IS 'Where the phase goes on after a crash, in the provider''s own words';

CREATE TABLE tenure.walk_seen (
    provider    text NOT NULL,
    run         uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('user', 'org', 'membership')),
    external_id text NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (provider, run, kind, external_id)
);
COMMENT ON TABLE tenure.walk_seen IS 'Whom the walk under way has met: whoever is missing at its end is asked for';

CREATE INDEX inbox_subject ON tenure.inbox (subject_kind, subject_id, seq) WHERE source <> 'stripe';

CREATE OR REPLACE FUNCTION tenure.keep_knocks(
    source text, account text, livemode boolean, event_ids text[], kinds text[],
    subject_kinds text[], subject_ids text[], notes text[], moments timestamptz[], bodies bytea[]
) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_material = off
    SET jit = off
    AS $$
#variable_conflict use_column
BEGIN
    -- Whoever reads what an event said must read all that it settles: no claim until we commit. Of
    -- Stripe's events nobody reads more than whom they concern.
    IF keep_knocks.source <> 'stripe' THEN
        PERFORM FROM tenure.subjects s
          WHERE (s.kind, s.id) IN (SELECT * FROM unnest(subject_kinds, subject_ids))
          ORDER BY s.kind, s.id FOR KEY SHARE;
    END IF;
    WITH incoming AS (
        SELECT * FROM unnest(event_ids, kinds, subject_kinds, subject_ids, notes, moments, bodies)
                   AS t (event_id, kind, subject_kind, subject_id, note, occurred_at, body)
    ), fresh AS (
        SELECT * FROM incoming i
         WHERE NOT EXISTS (SELECT FROM tenure.inbox k
                            WHERE k.source = keep_knocks.source AND k.account = keep_knocks.account
                              AND k.livemode = keep_knocks.livemode AND k.event_id = i.event_id)
    ), wanted AS (
        SELECT DISTINCT subject_kind AS kind, subject_id AS id
          FROM fresh WHERE subject_kind IS NOT NULL
    ), waiting AS (
        SELECT s.kind, s.id, s.dirty_seq
          FROM wanted JOIN tenure.subjects s USING (kind, id)
         WHERE s.dirty_seq > s.claimed_seq
    ), marked AS (
        INSERT INTO tenure.subjects AS s (kind, id)
        SELECT kind, id FROM wanted
         WHERE (kind, id) NOT IN (SELECT kind, id FROM waiting)
         ORDER BY kind, id  -- everybody locks in this order: no deadlock
        ON CONFLICT (kind, id) DO UPDATE
           SET dirty_seq = s.dirty_seq + 1, marked_at = clock_timestamp()
        RETURNING s.kind, s.id, s.dirty_seq
    ), due AS (
        SELECT * FROM waiting UNION ALL SELECT * FROM marked
    ), kept AS (
        INSERT INTO tenure.inbox (source, account, livemode, event_id, kind, subject_kind,
                                  subject_id, seq, note, occurred_at, body)
        SELECT keep_knocks.source, keep_knocks.account, keep_knocks.livemode, f.event_id, f.kind,
               f.subject_kind, f.subject_id, d.dirty_seq, f.note, f.occurred_at, f.body
          FROM fresh f LEFT JOIN due d ON d.kind = f.subject_kind AND d.id = f.subject_id
         ORDER BY f.event_id  -- after every subject's lock
        ON CONFLICT DO NOTHING
    )
    INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, queueing_lock, args)
    SELECT 'reconcile:' || k.kind, 'reconcile', 'reconcile:' || k.kind,
           jsonb_build_object('kind', k.kind)
      FROM (SELECT DISTINCT subject_kind AS kind
              FROM incoming WHERE subject_kind IS NOT NULL) k
     WHERE NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs j
                        WHERE j.queueing_lock = 'reconcile:' || k.kind AND j.status = 'todo')
     ORDER BY k.kind
    ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING;
END $$;

ALTER TABLE tenure.membership_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenure.seats              ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenure.decisions          ENABLE ROW LEVEL SECURITY;
CREATE POLICY membership_history_tenant ON tenure.membership_history TO tenure_app, tenure_reader
    USING (org_id = tenure.current_org()) WITH CHECK (org_id = tenure.current_org());
CREATE POLICY seats_tenant ON tenure.seats TO tenure_app, tenure_reader
    USING (org_id = tenure.current_org()) WITH CHECK (org_id = tenure.current_org());
CREATE POLICY decisions_tenant ON tenure.decisions FOR SELECT TO tenure_reader
    USING (tenure.is_mine(org_id, user_id));
CREATE POLICY membership_history_worker ON tenure.membership_history TO tenure_worker USING (true) WITH CHECK (true);
CREATE POLICY seats_worker              ON tenure.seats              TO tenure_worker USING (true) WITH CHECK (true);
CREATE POLICY decisions_worker          ON tenure.decisions          TO tenure_worker USING (true) WITH CHECK (true);

REVOKE ALL ON FUNCTION tenure.history_refuse, tenure.seats_begin FROM PUBLIC;
-- Who acts for a tenant reads; the one write path has the worker's rights.
REVOKE UPDATE ON tenure.organizations, tenure.users, tenure.memberships FROM tenure_app;
GRANT SELECT ON tenure.membership_history, tenure.seats TO tenure_app;
GRANT SELECT, INSERT ON tenure.membership_history TO tenure_worker;
GRANT SELECT, INSERT, UPDATE ON tenure.seats TO tenure_worker;
GRANT SELECT, INSERT, DELETE ON tenure.decisions TO tenure_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenure.tombstones, tenure.revoked_sessions,
    tenure.event_cursors, tenure.walks, tenure.walk_seen TO tenure_worker;
GRANT SELECT ON tenure.membership_history, tenure.seats, tenure.decisions TO tenure_reader;
