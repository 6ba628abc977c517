"""SQL of the customer mapping and of customer intents."""

from datetime import datetime
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tenure.base.db import Tx
from tenure.billing.model import Account, Customer, Intent, Owner


async def get_customer(tx: Tx, owner: Owner, *, livemode: bool) -> Customer | None:
    """Read the living customer of an owner."""
    cur = await tx.execute(
        """
        SELECT * FROM tenure.stripe_customers
         WHERE (org_id = %(org)s OR user_id = %(user)s) AND livemode = %(livemode)s
           AND deleted_at IS NULL
        """,
        {"org": owner.org_id, "user": owner.user_id, "livemode": livemode},
    )
    row = await cur.fetchone()
    return _customer(row) if row else None


async def get_by_stripe_id(tx: Tx, stripe_customer_id: str) -> Customer | None:
    """Read a customer by Stripe's id, a tombstone too."""
    cur = await tx.execute(
        "SELECT * FROM tenure.stripe_customers WHERE stripe_customer_id = %s",
        (stripe_customer_id,),
    )
    row = await cur.fetchone()
    return _customer(row) if row else None


async def put_customer(tx: Tx, customer: Customer) -> bool:
    """Add a customer; False when the owner has one already, or the id is taken."""
    cur = await tx.execute(
        """
        INSERT INTO tenure.stripe_customers
               (id, org_id, user_id, stripe_customer_id, livemode, generation, customer_email,
                customer_name, customer_metadata, sync_status, created_at, updated_at)
        VALUES (%(id)s, %(org)s, %(user)s, %(stripe)s, %(livemode)s, %(generation)s, %(email)s,
                %(name)s, %(metadata)s, 'pending', %(at)s, %(at)s)
        ON CONFLICT DO NOTHING
        """,
        {
            "id": customer.id,
            "org": customer.owner.org_id,
            "user": customer.owner.user_id,
            "stripe": customer.stripe_customer_id,
            "livemode": customer.livemode,
            "generation": customer.generation,
            "email": customer.email,
            "name": customer.name,
            "metadata": Jsonb(dict(customer.metadata)),
            "at": customer.created_at,
        },
    )
    return cur.rowcount == 1


async def put_profile(tx: Tx, account: Account) -> None:
    """Write what a look saw of the customer itself; a deleted one becomes a tombstone."""
    profile = account.profile
    address = profile.billing_address if profile else None
    await tx.execute(
        """
        UPDATE tenure.stripe_customers
           SET customer_email         = CASE WHEN %(gone)s THEN customer_email ELSE %(email)s END,
               customer_name          = CASE WHEN %(gone)s THEN customer_name ELSE %(name)s END,
               default_payment_method = %(method)s,
               customer_metadata      = CASE WHEN %(gone)s THEN customer_metadata
                                             ELSE %(metadata)s END,
               billing_address        = CASE WHEN %(gone)s THEN billing_address
                                             ELSE %(address)s END,
               sync_status = 'synced', sync_error = NULL, synced_at = %(at)s, updated_at = %(at)s,
               deleted_at  = CASE WHEN %(gone)s THEN coalesce(deleted_at, %(at)s) END
         WHERE stripe_customer_id = %(id)s
        """,
        {
            "id": account.stripe_customer_id,
            "gone": profile is None,
            "email": profile.email if profile else None,
            "name": profile.name if profile else None,
            "method": profile.default_payment_method if profile else None,
            "metadata": Jsonb(dict(profile.metadata) if profile else {}),
            "address": Jsonb(dict(address)) if address else None,
            "at": account.looked_at,
        },
    )


async def put_missing(tx: Tx, stripe_customer_id: str, *, why: str, at: datetime) -> None:
    """Note that Stripe does not know a customer of ours, and when it said so."""
    await tx.execute(
        """
        UPDATE tenure.stripe_customers
           SET sync_status = 'missing', sync_error = %s, updated_at = %s
         WHERE stripe_customer_id = %s
        """,
        (why, at, stripe_customer_id),
    )


async def put_intent(tx: Tx, intent: Intent) -> Intent:
    """Write an intent, or give the one that stands for this owner and generation."""
    await tx.execute(
        """
        INSERT INTO tenure.customer_intents
               (id, org_id, user_id, livemode, generation, idempotency_key, params, created_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT DO NOTHING
        """,
        (
            intent.id,
            intent.owner.org_id,
            intent.owner.user_id,
            intent.livemode,
            intent.generation,
            intent.idempotency_key,
            Jsonb(dict(intent.params)),
            intent.created_at,
        ),
    )
    found = await get_intent(tx, intent.owner, livemode=intent.livemode)
    return found or intent


async def get_intent(tx: Tx, owner: Owner, *, livemode: bool) -> Intent | None:
    """Read the newest intent of an owner."""
    cur = await tx.execute(
        """
        SELECT id, livemode, generation, idempotency_key, params, created_at
          FROM tenure.customer_intents
         WHERE (org_id = %(org)s OR user_id = %(user)s) AND livemode = %(livemode)s
         ORDER BY generation DESC LIMIT 1
        """,
        {"org": owner.org_id, "user": owner.user_id, "livemode": livemode},
    )
    row = await cur.fetchone()
    return Intent(owner=owner, **row) if row else None


async def drop_intent(tx: Tx, intent: Intent) -> None:
    """Forget an intent that Stripe refused, and those before it: they hold the same wish."""
    await tx.execute(
        """
        DELETE FROM tenure.customer_intents
         WHERE (org_id = %(org)s OR user_id = %(user)s) AND livemode = %(livemode)s
           AND generation <= %(generation)s
        """,
        {
            "org": intent.owner.org_id,
            "user": intent.owner.user_id,
            "livemode": intent.livemode,
            "generation": intent.generation,
        },
    )


async def last_generation(tx: Tx, owner: Owner, *, livemode: bool) -> int:
    """Say which generation of customer an owner had last; 0 for none. Tombstones count."""
    cur = await tx.execute(
        """
        SELECT coalesce(max(generation), 0) AS last FROM tenure.stripe_customers
         WHERE (org_id = %(org)s OR user_id = %(user)s) AND livemode = %(livemode)s
        """,
        {"org": owner.org_id, "user": owner.user_id, "livemode": livemode},
    )
    row = await cur.fetchone()
    return int(row["last"]) if row else 0


async def list_stale(tx: Tx, *, seconds: float, livemode: bool, limit: int) -> list[str]:
    """List living customers that nobody has looked at for so long, the longest first."""
    cur = await tx.execute(
        """
        SELECT stripe_customer_id FROM tenure.stripe_customers
         WHERE deleted_at IS NULL AND livemode = %s
           AND updated_at < clock_timestamp() - make_interval(secs => %s)
         ORDER BY updated_at LIMIT %s
        """,
        (livemode, seconds, limit),
    )
    return [row["stripe_customer_id"] for row in await cur.fetchall()]


async def owner_exists(tx: Tx, owner: Owner) -> bool:
    """Say whether the organization or user is one of ours."""
    cur = await tx.execute(
        """
        SELECT EXISTS (SELECT FROM tenure.organizations WHERE id = %(org)s)
            OR EXISTS (SELECT FROM tenure.users WHERE id = %(user)s) AS known
        """,
        {"org": owner.org_id, "user": owner.user_id},
    )
    row = await cur.fetchone()
    return bool(row and row["known"])


def _customer(row: DictRow) -> Customer:
    user_id: UUID | None = row["user_id"]
    return Customer(
        id=row["id"],
        owner=Owner(org_id=row["org_id"], user_id=user_id),
        stripe_customer_id=row["stripe_customer_id"],
        livemode=row["livemode"],
        generation=row["generation"],
        email=row["customer_email"],
        name=row["customer_name"],
        default_payment_method=row["default_payment_method"],
        metadata=row["customer_metadata"],
        billing_address=row["billing_address"],
        portal_configuration=row["portal_configuration"],
        sync_status=row["sync_status"],
        synced_at=row["synced_at"],
        created_at=row["created_at"],
        deleted_at=row["deleted_at"],
    )
