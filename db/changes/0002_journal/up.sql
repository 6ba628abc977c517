-- 0002  What came in, what is due, what was done, what goes out.
-- Locks     none: only new tables.
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '10s';
SET LOCAL ROLE tenure_owner;

-- Every event we accepted, once. It is settled when its subject is settled up to `seq`:
-- that is derived, so that keeping an event costs one insert and never an update.
CREATE TABLE tenure.inbox (
    source       text        NOT NULL,
    account      text        NOT NULL DEFAULT '',
    livemode     boolean     NOT NULL,
    event_id     text        NOT NULL,
    kind         text        NOT NULL,
    subject_kind text,
    subject_id   text,
    seq          bigint,
    note         text,
    occurred_at  timestamptz,
    received_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    body         bytea       NOT NULL,
    PRIMARY KEY (source, account, livemode, event_id)
) WITH (toast_tuple_target = 8160);  -- a usual event stays in its row: no second write for it
ALTER TABLE tenure.inbox ALTER COLUMN body SET STORAGE EXTERNAL;  -- and is never compressed inline
CREATE INDEX inbox_received_at ON tenure.inbox USING brin (received_at);
COMMENT ON TABLE  tenure.inbox IS 'Events that providers sent us, each kept once';
COMMENT ON COLUMN tenure.inbox.account IS 'The provider''s account; empty for our own';
COMMENT ON COLUMN tenure.inbox.seq IS 'The subject''s dirty_seq that covers this event; null when nobody is concerned';
COMMENT ON COLUMN tenure.inbox.note IS 'Why nobody was marked; null when somebody was';
COMMENT ON COLUMN tenure.inbox.body IS 'The bytes as signed; evidence, never truth';

CREATE TABLE tenure.subjects (
    kind         text        NOT NULL,
    id           text        NOT NULL,
    dirty_seq    bigint      NOT NULL DEFAULT 1 CHECK (dirty_seq >= claimed_seq),
    claimed_seq  bigint      NOT NULL DEFAULT 0 CHECK (claimed_seq >= settled_seq),
    settled_seq  bigint      NOT NULL DEFAULT 0 CHECK (settled_seq >= 0),
    fence        bigint      NOT NULL DEFAULT 0,
    lease_until  timestamptz,
    attempts     integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    retry_at     timestamptz NOT NULL DEFAULT '-infinity',
    marked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at   timestamptz,
    last_error   text,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 70);
CREATE INDEX subjects_due ON tenure.subjects (kind, retry_at) WHERE dirty_seq > settled_seq;
CREATE INDEX subjects_settled ON tenure.subjects (kind, settled_at) WHERE dirty_seq = settled_seq;
COMMENT ON TABLE  tenure.subjects IS 'What must be looked at: due while dirty_seq > settled_seq';
COMMENT ON COLUMN tenure.subjects.claimed_seq IS 'The dirty_seq that the newest look started from';
COMMENT ON COLUMN tenure.subjects.fence IS 'Raised by every claim; a write with an older one is refused';
COMMENT ON COLUMN tenure.subjects.retry_at IS 'Not to be looked at before: back-off, and the pause that coalesces a burst';

CREATE TABLE tenure.audit_heads (
    chain uuid   PRIMARY KEY,
    seq   bigint NOT NULL,
    hash  bytea  NOT NULL
);
COMMENT ON TABLE tenure.audit_heads IS 'The newest link of every audit chain; locked to append';

CREATE TABLE tenure.audit_log (
    chain     uuid        NOT NULL,
    seq       bigint      NOT NULL,
    org_id    uuid,
    user_id   uuid,
    at        timestamptz NOT NULL,
    actor     text        NOT NULL,
    action    text        NOT NULL,
    subject   text        NOT NULL,
    details   jsonb       NOT NULL DEFAULT '{}',
    prev_hash bytea       NOT NULL,
    hash      bytea       NOT NULL,
    PRIMARY KEY (chain, seq)
);
COMMENT ON TABLE  tenure.audit_log IS 'What was done, by whom, when: append-only, one hash chain per owner';
COMMENT ON COLUMN tenure.audit_log.chain IS 'The organization, or the user when no organization is concerned';

CREATE FUNCTION tenure.audit_digest(prev bytea, entry tenure.audit_log) RETURNS bytea
    LANGUAGE sql STABLE
    AS $$ SELECT sha256(prev || convert_to(jsonb_build_array(
              entry.chain, entry.seq, entry.org_id, entry.user_id, extract(epoch FROM entry.at),
              entry.actor, entry.action, entry.subject, entry.details)::text, 'UTF8')) $$;
COMMENT ON FUNCTION tenure.audit_digest IS 'The hash of one audit line, over the one before it';

CREATE FUNCTION tenure.audit_link() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    head tenure.audit_heads;
BEGIN
    NEW.chain := coalesce(NEW.org_id, NEW.user_id, '00000000-0000-0000-0000-000000000000');
    INSERT INTO tenure.audit_heads AS h (chain, seq, hash) VALUES (NEW.chain, 0, '')
        ON CONFLICT (chain) DO UPDATE SET seq = h.seq  -- takes the row's lock
        RETURNING * INTO head;
    NEW.seq := head.seq + 1;
    NEW.prev_hash := head.hash;
    NEW.hash := tenure.audit_digest(NEW.prev_hash, NEW);
    UPDATE tenure.audit_heads SET seq = NEW.seq, hash = NEW.hash WHERE chain = NEW.chain;
    RETURN NEW;
END $$;

CREATE FUNCTION tenure.audit_refuse() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'tenure.audit_log is append-only'
        USING ERRCODE = 'insufficient_privilege', HINT = 'Add a line that corrects the older one.';
END $$;

CREATE TRIGGER audit_link BEFORE INSERT ON tenure.audit_log
    FOR EACH ROW EXECUTE FUNCTION tenure.audit_link();
CREATE TRIGGER audit_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON tenure.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION tenure.audit_refuse();

CREATE TABLE tenure.news (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic   text        NOT NULL,
    org_id  uuid,
    user_id uuid,
    payload jsonb       NOT NULL DEFAULT '{}',
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz
);
CREATE INDEX news_unsent ON tenure.news (id) WHERE sent_at IS NULL;
COMMENT ON TABLE tenure.news IS 'What changed, for those who act on it; written with the change itself';

CREATE TABLE tenure.budgets (
    name      text        PRIMARY KEY,
    next_free timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE tenure.budgets IS 'Calls to each provider, spread over time for all processes together';

CREATE TABLE tenure.leases (
    name   text        PRIMARY KEY,
    holder text        NOT NULL,
    until  timestamptz NOT NULL
);
COMMENT ON TABLE tenure.leases IS 'Who does something that only one may do at a time, and until when';

CREATE TABLE tenure.sweeps (
    source  text        PRIMARY KEY,
    reached timestamptz NOT NULL
);
COMMENT ON TABLE  tenure.sweeps IS 'How far each list of events was read; a longer pause is caught up with';
COMMENT ON COLUMN tenure.sweeps.reached IS 'When the newest sweep that came to its end began';

ALTER TABLE tenure.audit_log   ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenure.audit_heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenure.news        ENABLE ROW LEVEL SECURITY;
CREATE POLICY audit_log_tenant ON tenure.audit_log TO tenure_app, tenure_reader
    USING (tenure.is_mine(org_id, user_id)) WITH CHECK (tenure.is_mine(org_id, user_id));
CREATE POLICY audit_heads_tenant ON tenure.audit_heads FOR SELECT TO tenure_app, tenure_reader
    USING (chain IN (tenure.current_org(), tenure.current_person()));
CREATE POLICY news_tenant ON tenure.news TO tenure_app
    USING (tenure.is_mine(org_id, user_id)) WITH CHECK (tenure.is_mine(org_id, user_id));
CREATE POLICY audit_log_worker   ON tenure.audit_log   TO tenure_worker USING (true) WITH CHECK (true);
CREATE POLICY audit_heads_worker ON tenure.audit_heads TO tenure_worker USING (true) WITH CHECK (true);
CREATE POLICY news_worker        ON tenure.news        TO tenure_worker USING (true) WITH CHECK (true);

REVOKE ALL ON FUNCTION tenure.audit_digest, tenure.audit_link, tenure.audit_refuse FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenure.audit_digest TO tenure_app, tenure_worker, tenure_reader;
-- To mark, and nothing else: subjects are everybody's, and so are their errors and their fences.
GRANT SELECT (kind, id, dirty_seq), INSERT (kind, id), UPDATE (dirty_seq, marked_at)
   ON tenure.subjects TO tenure_app;
GRANT SELECT, INSERT ON tenure.audit_log, tenure.news TO tenure_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenure.inbox, tenure.subjects, tenure.news, tenure.budgets,
    tenure.leases, tenure.sweeps TO tenure_worker;
GRANT SELECT, INSERT ON tenure.audit_log TO tenure_worker;
GRANT SELECT ON tenure.audit_heads TO tenure_app, tenure_worker, tenure_reader;
GRANT SELECT ON tenure.audit_log TO tenure_reader;
GRANT SELECT (kind, id, dirty_seq, claimed_seq, settled_seq, fence, lease_until, attempts, retry_at,
              marked_at, settled_at) ON tenure.subjects TO tenure_reader;
