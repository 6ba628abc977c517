-- 0007  Sessions that we keep for people: one row each, with the provider's tokens sealed in it.
-- Locks     none: only a new table.
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '10s';
SET LOCAL ROLE tenure_owner;

CREATE TABLE tenure.sessions (
    handle_hash      bytea       PRIMARY KEY CHECK (octet_length(handle_hash) = 32),
    provider         text        NOT NULL CHECK (provider = 'workos'),
    external_id      text,
    user_external_id text        NOT NULL CHECK (user_external_id <> ''),
    org_external_id  text,
    access_token     text,
    refresh_token    text,
    refresh_hash     bytea       NOT NULL CHECK (octet_length(refresh_hash) = 32),
    expires_at       timestamptz NOT NULL,
    began_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    rotated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at          timestamptz,
    fence            bigint      NOT NULL DEFAULT 0,
    lease_until      timestamptz,
    failures         integer     NOT NULL DEFAULT 0 CHECK (failures >= 0),
    retry_at         timestamptz,
    last_error       text,
    ended_at         timestamptz,
    ended_why        text        CHECK (ended_why IN ('signed_out', 'revoked', 'refused', 'answer_lost',
                                                      'mfa_enrollment', 'sso_required')),
    revoke_due       boolean     NOT NULL DEFAULT false,
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT end_is_explained CHECK ((ended_at IS NULL) = (ended_why IS NULL)),
    CONSTRAINT tokens_while_it_lasts CHECK ((ended_at IS NULL) = (refresh_token IS NOT NULL)
                                            AND (ended_at IS NULL) = (access_token IS NOT NULL)),
    CONSTRAINT revoked_after_its_end CHECK (NOT revoke_due OR ended_at IS NOT NULL)
);
CREATE INDEX sessions_in_doubt ON tenure.sessions (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX sessions_revoke_due ON tenure.sessions (ended_at) WHERE revoke_due;
CREATE INDEX sessions_ended ON tenure.sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_user ON tenure.sessions (provider, user_external_id);
COMMENT ON TABLE  tenure.sessions IS 'Sessions whose tokens we keep and refresh; the browser has only a handle';
COMMENT ON COLUMN tenure.sessions.handle_hash IS 'SHA-256 of the handle: whoever reads this table has no handle';
COMMENT ON COLUMN tenure.sessions.external_id IS 'The provider''s id of the session';
COMMENT ON COLUMN tenure.sessions.user_external_id IS 'The provider''s id of the user';
COMMENT ON COLUMN tenure.sessions.org_external_id IS 'The provider''s id of the organization that the session is in';
COMMENT ON COLUMN tenure.sessions.access_token IS 'Sealed with TENURE_SESSION_KEY, for this row alone';
COMMENT ON COLUMN tenure.sessions.refresh_token IS 'Sealed as well; good for one use, and for 30 s more';
COMMENT ON COLUMN tenure.sessions.refresh_hash IS 'SHA-256 of the refresh token: a new pair replaces just the one it was given for';
COMMENT ON COLUMN tenure.sessions.expires_at IS 'When the access token does, by the provider''s clock';
COMMENT ON COLUMN tenure.sessions.rotated_at IS 'When this pair came';
COMMENT ON COLUMN tenure.sessions.sent_at IS 'Since when the refresh token may be spent: it was sent, and no clear answer came; null: it is unspent';
COMMENT ON COLUMN tenure.sessions.fence IS 'Raised by every write, so that a stalled process does not end what another has renewed';
COMMENT ON COLUMN tenure.sessions.lease_until IS 'Until when one process alone talks to the provider about it';
COMMENT ON COLUMN tenure.sessions.retry_at IS 'Not before then, after a failure of the provider';
COMMENT ON COLUMN tenure.sessions.revoke_due IS 'Ended here, and the provider still has to be told';

ALTER TABLE tenure.sessions ENABLE ROW LEVEL SECURITY;
CREATE POLICY sessions_worker ON tenure.sessions TO tenure_worker USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenure.sessions TO tenure_worker;
