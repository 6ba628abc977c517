"""Two organizations and two users, with rows of theirs in every tenant table."""

from uuid import UUID

from .guard import Conn

A, B = UUID(int=0xA), UUID(int=0xB)
ADA, BOB = UUID(int=0xADA), UUID(int=0xB0B)

SEED = """
    INSERT INTO tenure.organizations (id, name, created_at, updated_at)
    VALUES (%(org)s, 'org ' || %(n)s, now(), now());

    INSERT INTO tenure.users (id, email, created_at, updated_at)
    VALUES (%(user)s, %(n)s || '@example.test', now(), now());

    INSERT INTO tenure.identities (provider, external_id, org_id, user_id, created_at)
    VALUES ('clerk', 'org_' || %(n)s, %(org)s, NULL, now()),
           ('clerk', 'user_' || %(n)s, NULL, %(user)s, now());

    INSERT INTO tenure.memberships (id, org_id, user_id, role, status, created_at, updated_at)
    VALUES (gen_random_uuid(), %(org)s, %(user)s, 'admin', 'active', now(), now());

    INSERT INTO tenure.membership_history (org_id, user_id, membership_id, generation, status_to,
                                           role_to, seat_to, cause, at)
    SELECT org_id, user_id, id, 1, 'active', 'admin', false, 'token', now()
      FROM tenure.memberships WHERE org_id = %(org)s;

    INSERT INTO tenure.decisions (subject_kind, subject_id, verdict, reason, org_id, user_id, at)
    VALUES ('clerk.membership', 'org_' || %(n)s || '/user_' || %(n)s, 'applied', 'joined', %(org)s,
            %(user)s, now());

    INSERT INTO tenure.audit_log (org_id, user_id, at, actor, action, subject)
    VALUES (%(org)s, %(user)s, now(), 'test', 'seeded', 'x'),
           (NULL, %(user)s, now(), 'test', 'seeded', 'x');

    INSERT INTO tenure.news (topic, org_id, user_id)
    VALUES ('seeded', %(org)s, NULL), ('seeded', NULL, %(user)s);

    INSERT INTO tenure.customer_intents (id, org_id, user_id, livemode, generation,
                                         idempotency_key, params, created_at)
    VALUES (gen_random_uuid(), %(org)s, NULL, false, 1, 'org ' || %(n)s, '{}', now()),
           (gen_random_uuid(), NULL, %(user)s, false, 1, 'user ' || %(n)s, '{}', now());

    INSERT INTO tenure.stripe_customers (org_id, user_id, stripe_customer_id, livemode)
    VALUES (%(org)s, NULL, 'cus_org' || %(n)s, false), (NULL, %(user)s, 'cus_user' || %(n)s, false);

    INSERT INTO tenure.payment_methods (id, stripe_customer_id, org_id, user_id, kind, created_at)
    VALUES ('pm_org' || %(n)s, 'cus_org' || %(n)s, %(org)s, NULL, 'card', now()),
           ('pm_user' || %(n)s, 'cus_user' || %(n)s, NULL, %(user)s, 'card', now());

    INSERT INTO tenure.subscriptions (id, stripe_customer_id, org_id, user_id, status, created_at,
                                      looked_at, look_fence)
    VALUES ('sub_org' || %(n)s, 'cus_org' || %(n)s, %(org)s, NULL, 'active', now(), now(), 1),
           ('sub_user' || %(n)s, 'cus_user' || %(n)s, NULL, %(user)s, 'active', now(), now(), 1);

    INSERT INTO tenure.subscription_items (id, subscription_id, org_id, user_id, price_id,
                                           product_id)
    VALUES ('si_org' || %(n)s, 'sub_org' || %(n)s, %(org)s, NULL, 'price_1', 'prod_1'),
           ('si_user' || %(n)s, 'sub_user' || %(n)s, NULL, %(user)s, 'price_1', 'prod_1');

    INSERT INTO tenure.entitlements (stripe_customer_id, lookup_key, org_id, user_id, feature_id)
    VALUES ('cus_org' || %(n)s, 'key', %(org)s, NULL, 'feat_1'),
           ('cus_user' || %(n)s, 'key', NULL, %(user)s, 'feat_1');
    """


def seed(conn: Conn) -> None:
    for org, user, name in ((A, ADA, "a"), (B, BOB, "b")):
        for statement in SEED.split(";\n"):
            if statement.strip():
                conn.execute(statement, {"org": org, "user": user, "n": name})
