-- 0005  What was bought: the customer mapping, and projections of Stripe that can be rebuilt.
-- Locks     none: only new tables.
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '10s';
SET LOCAL ROLE tenure_owner;

-- The intent stands before Stripe is called: whoever dies in between, the next one finds the same
-- idempotency key and parameters, and Stripe answers with the same customer.
CREATE TABLE tenure.customer_intents (
    id              uuid        PRIMARY KEY,
    org_id          uuid        REFERENCES tenure.organizations ON DELETE RESTRICT,
    user_id         uuid        REFERENCES tenure.users ON DELETE RESTRICT,
    livemode        boolean     NOT NULL,
    generation      integer     NOT NULL CHECK (generation >= 1),
    idempotency_key text        NOT NULL UNIQUE,
    params          jsonb       NOT NULL,
    created_at      timestamptz NOT NULL,
    CHECK (num_nonnulls(org_id, user_id) = 1)
);
CREATE UNIQUE INDEX customer_intents_org  ON tenure.customer_intents (org_id, livemode, generation)
    WHERE org_id IS NOT NULL;
CREATE UNIQUE INDEX customer_intents_user ON tenure.customer_intents (user_id, livemode, generation)
    WHERE user_id IS NOT NULL;
COMMENT ON TABLE  tenure.customer_intents IS 'Stripe customers about to be made, written before Stripe is asked';
COMMENT ON COLUMN tenure.customer_intents.generation IS 'Raised when the last customer was deleted or its key was spent';

CREATE TABLE tenure.stripe_customers (
    id                     uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id                 uuid        REFERENCES tenure.organizations ON DELETE RESTRICT,
    user_id                uuid        REFERENCES tenure.users ON DELETE RESTRICT,
    stripe_customer_id     text        NOT NULL,
    livemode               boolean     NOT NULL,
    generation             integer     NOT NULL DEFAULT 1 CHECK (generation >= 1),
    customer_email         text,
    customer_name          text,
    default_payment_method text,
    customer_metadata      jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(customer_metadata) = 'object'),
    billing_address        jsonb,
    portal_configuration   text,
    sync_status            text        NOT NULL DEFAULT 'pending'
                                       CHECK (sync_status IN ('pending', 'synced', 'failed', 'missing')),
    sync_error             text,
    synced_at              timestamptz,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    deleted_at             timestamptz,
    CONSTRAINT one_owner        CHECK (num_nonnulls(org_id, user_id) = 1),
    CONSTRAINT valid_stripe_id  CHECK (stripe_customer_id ~ '^cus_[a-zA-Z0-9]+$'),
    CONSTRAINT valid_payment_method CHECK (default_payment_method ~ '^(pm|card|src|ba)_[a-zA-Z0-9]+$'),
    CONSTRAINT unique_stripe_id UNIQUE (stripe_customer_id)
);
-- One living customer for each owner and mode; a deleted one stays as a tombstone.
CREATE UNIQUE INDEX unique_org_customer  ON tenure.stripe_customers (org_id, livemode)
    WHERE org_id IS NOT NULL AND deleted_at IS NULL;
CREATE UNIQUE INDEX unique_user_customer ON tenure.stripe_customers (user_id, livemode)
    WHERE user_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX stripe_customers_email ON tenure.stripe_customers (lower(customer_email));
COMMENT ON TABLE  tenure.stripe_customers IS 'Which Stripe customer pays for which organization or user';
COMMENT ON COLUMN tenure.stripe_customers.generation IS 'Which customer of this owner: 2 when the first was deleted';
COMMENT ON COLUMN tenure.stripe_customers.sync_status IS 'pending until the first look; missing when Stripe does not know it';

CREATE TABLE tenure.payment_methods (
    id                 text        PRIMARY KEY CHECK (id ~ '^(pm|card|src|ba)_[a-zA-Z0-9]+$'),
    stripe_customer_id text        NOT NULL REFERENCES tenure.stripe_customers (stripe_customer_id) ON DELETE CASCADE,
    org_id             uuid,
    user_id            uuid,
    kind               text        NOT NULL,
    brand              text,
    last4              text        CHECK (last4 ~ '^[0-9]{4}$'),
    exp_month          integer     CHECK (exp_month BETWEEN 1 AND 12),
    exp_year           integer,
    created_at         timestamptz NOT NULL,
    CHECK (num_nonnulls(org_id, user_id) = 1)
);
CREATE INDEX payment_methods_customer ON tenure.payment_methods (stripe_customer_id);
COMMENT ON TABLE tenure.payment_methods IS 'Projection of Stripe: how a customer pays';

CREATE TABLE tenure.subscriptions (
    id                   text        PRIMARY KEY CHECK (id ~ '^sub_[a-zA-Z0-9]+$'),
    stripe_customer_id   text        NOT NULL REFERENCES tenure.stripe_customers (stripe_customer_id) ON DELETE CASCADE,
    org_id               uuid,
    user_id              uuid,
    status               text        NOT NULL CHECK (status IN ('incomplete', 'incomplete_expired',
                                     'trialing', 'active', 'past_due', 'unpaid', 'canceled', 'paused')),
    collection_paused    boolean     NOT NULL DEFAULT false,
    current_period_start timestamptz,
    current_period_end   timestamptz,
    trial_end            timestamptz,
    past_due_since       timestamptz,
    cancel_at            timestamptz,
    cancel_at_period_end boolean     NOT NULL DEFAULT false,
    canceled_at          timestamptz,
    ended_at             timestamptz,
    metadata             jsonb       NOT NULL DEFAULT '{}',
    created_at           timestamptz NOT NULL,
    looked_at            timestamptz NOT NULL,
    look_fence           bigint      NOT NULL,
    CHECK (num_nonnulls(org_id, user_id) = 1)
);
CREATE INDEX subscriptions_org      ON tenure.subscriptions (org_id)  WHERE org_id IS NOT NULL;
CREATE INDEX subscriptions_user     ON tenure.subscriptions (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX subscriptions_customer ON tenure.subscriptions (stripe_customer_id);
COMMENT ON TABLE  tenure.subscriptions IS 'Projection of Stripe: may be dropped and rebuilt at any time';
COMMENT ON COLUMN tenure.subscriptions.current_period_start IS 'Earliest over the items, which may differ';
COMMENT ON COLUMN tenure.subscriptions.current_period_end IS 'Latest over the items, which may differ';
COMMENT ON COLUMN tenure.subscriptions.past_due_since IS 'When the oldest unpaid invoice was finalized';
COMMENT ON COLUMN tenure.subscriptions.look_fence IS 'The fence of the look that wrote this row';

CREATE TABLE tenure.subscription_items (
    id                   text        PRIMARY KEY CHECK (id ~ '^si_[a-zA-Z0-9]+$'),
    subscription_id      text        NOT NULL REFERENCES tenure.subscriptions ON DELETE CASCADE,
    org_id               uuid,
    user_id              uuid,
    price_id             text        NOT NULL,
    product_id           text        NOT NULL,
    quantity             bigint      CHECK (quantity >= 0),
    current_period_start timestamptz,
    current_period_end   timestamptz,
    CHECK (num_nonnulls(org_id, user_id) = 1)
);
CREATE INDEX subscription_items_subscription ON tenure.subscription_items (subscription_id);
COMMENT ON COLUMN tenure.subscription_items.quantity IS 'Null for metered prices, which have none';

CREATE TABLE tenure.entitlements (
    stripe_customer_id text        NOT NULL REFERENCES tenure.stripe_customers (stripe_customer_id) ON DELETE CASCADE,
    lookup_key         text        NOT NULL,
    org_id             uuid,
    user_id            uuid,
    feature_id         text        NOT NULL,
    PRIMARY KEY (stripe_customer_id, lookup_key),
    CHECK (num_nonnulls(org_id, user_id) = 1)
);
CREATE INDEX entitlements_org  ON tenure.entitlements (org_id)  WHERE org_id IS NOT NULL;
CREATE INDEX entitlements_user ON tenure.entitlements (user_id) WHERE user_id IS NOT NULL;
COMMENT ON TABLE tenure.entitlements IS 'Projection of Stripe: features that the customer has now';

DO $$
DECLARE
    tenant text;
BEGIN
    FOREACH tenant IN ARRAY ARRAY['customer_intents', 'stripe_customers', 'payment_methods',
                                  'subscriptions', 'subscription_items', 'entitlements'] LOOP
        EXECUTE format('ALTER TABLE tenure.%I ENABLE ROW LEVEL SECURITY', tenant);
        EXECUTE format('CREATE POLICY %I ON tenure.%I FOR SELECT TO tenure_app, tenure_reader
                            USING (tenure.is_mine(org_id, user_id))', tenant || '_tenant', tenant);
        EXECUTE format('CREATE POLICY %I ON tenure.%I TO tenure_worker USING (true) WITH CHECK (true)',
                       tenant || '_worker', tenant);
        EXECUTE format('GRANT SELECT ON tenure.%I TO tenure_app, tenure_reader', tenant);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON tenure.%I TO tenure_worker', tenant);
    END LOOP;
END $$;
