"""SQL of the projections: what Stripe said, replaced whole with every look."""

from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb

from tenure.base.db import Tx
from tenure.billing.model import (
    Account,
    Customer,
    Entitlement,
    Item,
    Owner,
    PaymentMethod,
    Profile,
    Status,
    Subscription,
)


async def get_account(tx: Tx, customer: Customer) -> Account:
    """Read what the last look at a customer saw."""
    of = (customer.stripe_customer_id,)
    entitlements = await tx.execute(
        """
        SELECT lookup_key, feature_id FROM tenure.entitlements
         WHERE stripe_customer_id = %s ORDER BY lookup_key
        """,
        of,
    )
    methods = await tx.execute(
        """
        SELECT id, kind, brand, last4, exp_month, exp_year, created_at
          FROM tenure.payment_methods WHERE stripe_customer_id = %s ORDER BY id
        """,
        of,
    )
    profile = Profile(
        email=customer.email,
        name=customer.name,
        default_payment_method=customer.default_payment_method,
        metadata=customer.metadata,
        billing_address=customer.billing_address,
    )
    return Account(
        stripe_customer_id=customer.stripe_customer_id,
        profile=None if customer.deleted_at else profile,
        subscriptions=await list_subscriptions(tx, customer.stripe_customer_id),
        entitlements=tuple(Entitlement(**row) for row in await entitlements.fetchall()),
        payment_methods=tuple(PaymentMethod(**row) for row in await methods.fetchall()),
        looked_at=customer.synced_at or customer.created_at,
        livemode=customer.livemode,
    )


async def list_subscriptions(tx: Tx, stripe_customer_id: str) -> tuple[Subscription, ...]:
    """Read a customer's subscriptions with their items."""
    items = await tx.execute(
        """
        SELECT i.subscription_id, i.id, i.price_id, i.product_id, i.quantity,
               i.current_period_start, i.current_period_end
          FROM tenure.subscription_items i JOIN tenure.subscriptions s ON s.id = i.subscription_id
         WHERE s.stripe_customer_id = %s ORDER BY i.id COLLATE "C"
        """,
        (stripe_customer_id,),
    )
    by_subscription: dict[str, list[Item]] = {}
    for row in await items.fetchall():
        by_subscription.setdefault(row.pop("subscription_id"), []).append(Item(**row))
    cur = await tx.execute(
        """
        SELECT id, status, collection_paused, current_period_start, current_period_end, trial_end,
               past_due_since, cancel_at, cancel_at_period_end, canceled_at, ended_at, created_at,
               metadata
          FROM tenure.subscriptions WHERE stripe_customer_id = %s ORDER BY id
        """,
        (stripe_customer_id,),
    )
    return tuple(
        Subscription(
            status=Status(row.pop("status")),
            items=tuple(by_subscription.get(row["id"], ())),
            **row,
        )
        for row in await cur.fetchall()
    )


async def put_account(tx: Tx, account: Account, owner: Owner, *, fence: int) -> None:
    """Replace everything we keep about a customer with what this look saw."""
    of = {"customer": account.stripe_customer_id, "org": owner.org_id, "user": owner.user_id}
    await _put_subscriptions(tx, account, of, fence)
    await _put_items(tx, account.subscriptions, of)
    await _put_entitlements(tx, account.entitlements, of)
    await _put_payment_methods(tx, account.payment_methods, of)


async def _put_subscriptions(
    tx: Tx, account: Account, of: Mapping[str, object], fence: int
) -> None:
    await tx.execute(
        """
        DELETE FROM tenure.subscriptions
         WHERE stripe_customer_id = %(customer)s AND id <> ALL (%(ids)s)
        """,
        {**of, "ids": [s.id for s in account.subscriptions]},
    )
    async with tx.cursor() as cur:
        await cur.executemany(
            """
            INSERT INTO tenure.subscriptions
                   (id, stripe_customer_id, org_id, user_id, status, collection_paused,
                    current_period_start, current_period_end, trial_end, past_due_since, cancel_at,
                    cancel_at_period_end, canceled_at, ended_at, metadata, created_at, looked_at,
                    look_fence)
            VALUES (%(id)s, %(customer)s, %(org)s, %(user)s, %(status)s, %(collection_paused)s,
                    %(current_period_start)s, %(current_period_end)s, %(trial_end)s,
                    %(past_due_since)s, %(cancel_at)s, %(cancel_at_period_end)s, %(canceled_at)s,
                    %(ended_at)s, %(metadata)s, %(created_at)s, %(looked_at)s, %(fence)s)
            ON CONFLICT (id) DO UPDATE SET
                   stripe_customer_id = excluded.stripe_customer_id,
                   org_id = excluded.org_id, user_id = excluded.user_id,
                   status = excluded.status, collection_paused = excluded.collection_paused,
                   current_period_start = excluded.current_period_start,
                   current_period_end = excluded.current_period_end,
                   trial_end = excluded.trial_end, past_due_since = excluded.past_due_since,
                   cancel_at = excluded.cancel_at,
                   cancel_at_period_end = excluded.cancel_at_period_end,
                   canceled_at = excluded.canceled_at, ended_at = excluded.ended_at,
                   metadata = excluded.metadata, created_at = excluded.created_at,
                   looked_at = excluded.looked_at, look_fence = excluded.look_fence
            """,
            [
                {**of, **_columns(s), "looked_at": account.looked_at, "fence": fence}
                for s in account.subscriptions
            ],
        )


async def _put_items(
    tx: Tx, subscriptions: Sequence[Subscription], of: Mapping[str, object]
) -> None:
    await tx.execute(
        """
        DELETE FROM tenure.subscription_items
         WHERE id <> ALL (%(ids)s) AND subscription_id IN
               (SELECT id FROM tenure.subscriptions WHERE stripe_customer_id = %(customer)s)
        """,
        {**of, "ids": [item.id for s in subscriptions for item in s.items]},
    )
    async with tx.cursor() as cur:
        await cur.executemany(
            """
            INSERT INTO tenure.subscription_items
                   (id, subscription_id, org_id, user_id, price_id, product_id, quantity,
                    current_period_start, current_period_end)
            VALUES (%(id)s, %(subscription)s, %(org)s, %(user)s, %(price)s, %(product)s,
                    %(quantity)s, %(start)s, %(end)s)
            ON CONFLICT (id) DO UPDATE SET
                   subscription_id = excluded.subscription_id, org_id = excluded.org_id,
                   user_id = excluded.user_id, price_id = excluded.price_id,
                   product_id = excluded.product_id, quantity = excluded.quantity,
                   current_period_start = excluded.current_period_start,
                   current_period_end = excluded.current_period_end
            """,
            [
                {
                    **of,
                    "id": item.id,
                    "subscription": s.id,
                    "price": item.price_id,
                    "product": item.product_id,
                    "quantity": item.quantity,
                    "start": item.current_period_start,
                    "end": item.current_period_end,
                }
                for s in subscriptions
                for item in s.items
            ],
        )


async def _put_entitlements(
    tx: Tx, entitlements: Sequence[Entitlement], of: Mapping[str, object]
) -> None:
    await tx.execute(
        """
        WITH gone AS (
            DELETE FROM tenure.entitlements
             WHERE stripe_customer_id = %(customer)s AND lookup_key <> ALL (%(keys)s))
        INSERT INTO tenure.entitlements
               (stripe_customer_id, lookup_key, feature_id, org_id, user_id)
        SELECT %(customer)s, k, f, %(org)s, %(user)s
          FROM unnest(%(keys)s::text[], %(features)s::text[]) AS t (k, f)
        ON CONFLICT (stripe_customer_id, lookup_key) DO UPDATE
           SET feature_id = excluded.feature_id, org_id = excluded.org_id,
               user_id = excluded.user_id
        """,
        {
            **of,
            "keys": [e.lookup_key for e in entitlements],
            "features": [e.feature_id for e in entitlements],
        },
    )


async def _put_payment_methods(
    tx: Tx, methods: Sequence[PaymentMethod], of: Mapping[str, object]
) -> None:
    await tx.execute(
        """
        DELETE FROM tenure.payment_methods
         WHERE stripe_customer_id = %(customer)s AND id <> ALL (%(ids)s)
        """,
        {**of, "ids": [m.id for m in methods]},
    )
    async with tx.cursor() as cur:
        await cur.executemany(
            """
            INSERT INTO tenure.payment_methods
                   (id, stripe_customer_id, org_id, user_id, kind, brand, last4, exp_month,
                    exp_year, created_at)
            VALUES (%(id)s, %(customer)s, %(org)s, %(user)s, %(kind)s, %(brand)s, %(last4)s,
                    %(exp_month)s, %(exp_year)s, %(created_at)s)
            ON CONFLICT (id) DO UPDATE SET
                   stripe_customer_id = excluded.stripe_customer_id, org_id = excluded.org_id,
                   user_id = excluded.user_id, kind = excluded.kind, brand = excluded.brand,
                   last4 = excluded.last4, exp_month = excluded.exp_month,
                   exp_year = excluded.exp_year, created_at = excluded.created_at
            """,
            [
                {
                    **of,
                    "id": m.id,
                    "kind": m.kind,
                    "brand": m.brand,
                    "last4": m.last4,
                    "exp_month": m.exp_month,
                    "exp_year": m.exp_year,
                    "created_at": m.created_at,
                }
                for m in methods
            ],
        )


def _columns(s: Subscription) -> dict[str, object]:
    return {
        "id": s.id,
        "status": s.status.value,
        "collection_paused": s.collection_paused,
        "current_period_start": s.current_period_start,
        "current_period_end": s.current_period_end,
        "trial_end": s.trial_end,
        "past_due_since": s.past_due_since,
        "cancel_at": s.cancel_at,
        "cancel_at_period_end": s.cancel_at_period_end,
        "canceled_at": s.canceled_at,
        "ended_at": s.ended_at,
        "metadata": Jsonb(dict(s.metadata)),
        "created_at": s.created_at,
    }
