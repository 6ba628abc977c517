-- 0004  Who: organizations, users, how providers name them, and who belongs where.
-- Locks     none: only new tables.
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '10s';
SET LOCAL ROLE tenure_owner;

CREATE TABLE tenure.organizations (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL CHECK (name <> ''),
    slug       text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
COMMENT ON TABLE tenure.organizations IS 'Tenants, under our own keys';

CREATE TABLE tenure.users (
    id         uuid        PRIMARY KEY,
    email      text,
    name       text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE INDEX users_email ON tenure.users (lower(email));
COMMENT ON TABLE  tenure.users IS 'People, under our own keys; a deleted one keeps its row';
COMMENT ON COLUMN tenure.users.email IS 'As the provider says; null until we are told';

CREATE TABLE tenure.identities (
    provider    text        NOT NULL CHECK (provider IN ('clerk', 'workos', 'supabase', 'oidc')),
    external_id text        NOT NULL CHECK (external_id <> ''),
    org_id      uuid        REFERENCES tenure.organizations ON DELETE RESTRICT,
    user_id     uuid        REFERENCES tenure.users ON DELETE RESTRICT,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (provider, external_id),
    CHECK (num_nonnulls(org_id, user_id) = 1)
);
CREATE INDEX identities_org  ON tenure.identities (org_id)  WHERE org_id IS NOT NULL;
CREATE INDEX identities_user ON tenure.identities (user_id) WHERE user_id IS NOT NULL;
COMMENT ON TABLE tenure.identities IS 'A provider''s id for one of our users or organizations';

CREATE TABLE tenure.memberships (
    id          uuid        PRIMARY KEY,
    org_id      uuid        NOT NULL REFERENCES tenure.organizations ON DELETE RESTRICT,
    user_id     uuid        NOT NULL REFERENCES tenure.users ON DELETE RESTRICT,
    role        text        NOT NULL CHECK (role <> '' AND role NOT LIKE 'org:%'),
    status      text        NOT NULL CHECK (status IN ('pending', 'active', 'inactive')),
    holds_seat  boolean     NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    UNIQUE (org_id, user_id)
);
CREATE INDEX memberships_user ON tenure.memberships (user_id);
COMMENT ON TABLE  tenure.memberships IS 'Who belongs to which organization, as what';
COMMENT ON COLUMN tenure.memberships.role IS 'Normalised: admin, never org:admin';

ALTER TABLE tenure.organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenure.users         ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenure.identities    ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenure.memberships   ENABLE ROW LEVEL SECURITY;

CREATE POLICY organizations_tenant ON tenure.organizations TO tenure_app, tenure_reader
    USING (id = tenure.current_org()) WITH CHECK (id = tenure.current_org());
CREATE POLICY memberships_tenant ON tenure.memberships TO tenure_app, tenure_reader
    USING (org_id = tenure.current_org()) WITH CHECK (org_id = tenure.current_org());
-- A person is seen by herself and by the organization she belongs to; only she is written by the app.
CREATE POLICY users_seen ON tenure.users FOR SELECT TO tenure_app, tenure_reader
    USING (id = tenure.current_person()
           OR EXISTS (SELECT FROM tenure.memberships m
                       WHERE m.user_id = users.id AND m.org_id = tenure.current_org()));
CREATE POLICY users_own ON tenure.users FOR UPDATE TO tenure_app
    USING (id = tenure.current_person()) WITH CHECK (id = tenure.current_person());
CREATE POLICY identities_seen ON tenure.identities FOR SELECT TO tenure_app, tenure_reader
    USING (tenure.is_mine(org_id, user_id));

CREATE POLICY organizations_worker ON tenure.organizations TO tenure_worker USING (true) WITH CHECK (true);
CREATE POLICY users_worker         ON tenure.users         TO tenure_worker USING (true) WITH CHECK (true);
CREATE POLICY identities_worker    ON tenure.identities    TO tenure_worker USING (true) WITH CHECK (true);
CREATE POLICY memberships_worker   ON tenure.memberships   TO tenure_worker USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON tenure.organizations, tenure.users, tenure.identities,
    tenure.memberships TO tenure_worker;
GRANT SELECT, UPDATE ON tenure.organizations, tenure.users, tenure.memberships TO tenure_app;
GRANT SELECT ON tenure.identities TO tenure_app;
GRANT SELECT ON tenure.organizations, tenure.users, tenure.identities, tenure.memberships TO tenure_reader;
