"""Get or create: one Stripe customer for each owner, whatever is clicked, retried or killed."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from tenure.base.clock import Clock
from tenure.base.db import Db, Tx
from tenure.base.ids import Ids
from tenure.base.lease import Leases
from tenure.base.log import log
from tenure.billing import projection, rules, store
from tenure.billing.errors import ModeMixUp, NoSuchObject, Refused, StripeFailed, StripeKeySpent
from tenure.billing.model import CUSTOMER, Customer, Intent, Owner
from tenure.billing.projection import Raw
from tenure.billing.stripe import Stripe
from tenure.journal import audit, news
from tenure.journal import store as journal
from tenure.journal.model import Entry, Subject

CLOCKS_DIFFER = timedelta(hours=1)  # between Stripe and us, when we search by time


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to tell Stripe about a new customer."""

    email: str | None = None
    name: str | None = None
    metadata: Mapping[str, str] | None = None  # the provider's ids, for people in the dashboard


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Makes customers."""

    db: Db
    stripe: Stripe
    clock: Clock
    ids: Ids

    async def ensure(self, owner: Owner, wish: Wish, *, actor: str) -> tuple[Customer, bool]:
        """Get the owner's customer, or create it; say whether this call made it.

        Errors:  StripeTrouble, Refused, Busy, ModeMixUp.
        Promise: the intent is written before Stripe is called, and every try sends the same key and
                 parameters. So double clicks, many nodes and deaths in between give one customer.
        """
        if found := await self.find(owner):
            return found, False
        lease = f"customer:{owner}:{self.stripe.livemode}"
        async with Leases(db=self.db, ids=self.ids).held(lease, wait=timedelta(seconds=15)):
            if found := await self.find(owner):  # made while we waited
                return found, False
            intent = await self._intend(owner, wish)
            made = await self._create(intent)
            return await self._keep(intent, made, actor)

    async def find(self, owner: Owner) -> Customer | None:
        """Read the owner's living customer of our mode.

        Errors: ModeMixUp when Stripe said that it belongs to the other mode.
        """
        async with self.db.statement() as tx:
            found = await store.get_customer(tx, owner, livemode=self.stripe.livemode)
        if found and found.sync_status == "missing":
            raise ModeMixUp(
                f"Stripe does not know {found.stripe_customer_id} with our key; "
                "it was made in the other mode, in another account, or removed by hand",
                customer=found.stripe_customer_id,
            )
        return found

    @asynccontextmanager
    async def believing(self, customer: Customer) -> AsyncGenerator[None]:
        """Act for a customer; where Stripe does not know it any more, ask for a look at it.

        Promise: a customer that was deleted at Stripe breaks one call, and not the next.
        """
        try:
            yield
        except NoSuchObject:
            async with self.db.transaction() as tx:
                await journal.mark(tx, [Subject(CUSTOMER, customer.stripe_customer_id)])
            raise

    async def _intend(self, owner: Owner, wish: Wish, *, anew: bool = False) -> Intent:
        """Write the intent, or take up the one that somebody left; `anew` gives up the last."""
        live = self.stripe.livemode
        async with self.db.transaction() as tx:
            left = await store.get_intent(tx, owner, livemode=live)
            used = await store.last_generation(tx, owner, livemode=live)
            if left and left.generation > used and not anew:
                return left
            generation = max(used, left.generation if left else 0) + 1
            params = _params(owner, wish, generation)
            intent = Intent(
                id=self.ids.uuid(),
                owner=owner,
                livemode=live,
                generation=generation,
                idempotency_key=rules.idempotency_key(
                    owner, livemode=live, generation=generation, params=params
                ),
                params=params,
                created_at=self.clock.now(),
            )
            return await store.put_intent(tx, intent)

    async def _create(self, intent: Intent) -> Raw:
        """Create at Stripe; where the key protects no more, look for what it may have made first.

        A saved failure is final for its key. Stripe may have made the customer all the same.
        """
        if not rules.is_key_fresh(intent.created_at, self.clock.now()):
            if found := await self._search(intent):
                return found
            intent = await self._raise(intent)
        try:
            return await self._post(intent)
        except (StripeFailed, StripeKeySpent):
            if found := await self._search(intent):
                log.info("billing.customers.adopted", customer=found["id"])
                return found
            return await self._post(await self._raise(intent))

    async def _post(self, intent: Intent) -> Raw:
        """Ask Stripe; a wish that it refuses made nothing, and must not bind the next one."""
        try:
            return await self.stripe.call(
                "post", "/v1/customers", key=intent.idempotency_key, **intent.params
            )
        except Refused:
            async with self.db.statement() as tx:
                await store.drop_intent(tx, intent)
            raise

    async def _raise(self, intent: Intent) -> Intent:
        wish = Wish(
            email=_text(intent.params.get("email")),
            name=_text(intent.params.get("name")),
            metadata=projection.metadata_of(intent.params),
        )
        return await self._intend(intent.owner, wish, anew=True)

    async def _search(self, intent: Intent) -> Raw | None:
        """Go through the customers made since the intent: a list is exact, a search lags."""
        since = int((intent.created_at - CLOCKS_DIFFER).timestamp())
        async for customer in self.stripe.pages("/v1/customers", created={"gte": since}):
            if rules.is_ours(customer, intent.owner, intent.generation):
                return customer
        return None

    async def _keep(self, intent: Intent, made: Raw, actor: str) -> tuple[Customer, bool]:
        """Write the mapping, its audit line, its news and the mark for the first look."""
        generation = int(projection.metadata_of(made)["tenure_generation"])
        customer = Customer.new(
            self.ids.uuid(),
            intent.owner,
            projection.profile(made),
            stripe_customer_id=made["id"],
            livemode=intent.livemode,
            generation=generation,
            at=self.clock.now(),
        )
        async with self.db.transaction() as tx:
            # The subject first, as the single writer locks it: so they cannot deadlock.
            await journal.mark(tx, [Subject(CUSTOMER, customer.stripe_customer_id)])
            if not await store.put_customer(tx, customer):
                found = await store.get_customer(tx, intent.owner, livemode=intent.livemode)
                return found or customer, False
            await self._tell(tx, customer, actor)
        return customer, True

    async def _tell(self, tx: Tx, customer: Customer, actor: str) -> None:
        owner = customer.owner
        entry = Entry(
            org_id=owner.org_id,
            user_id=owner.user_id,
            at=customer.created_at,
            actor=actor,
            action="customer.created",
            subject=customer.stripe_customer_id,
            details={"generation": customer.generation, "livemode": customer.livemode},
        )
        await audit.append(tx, entry)
        await news.append(tx, "customer.created", org_id=owner.org_id, user_id=owner.user_id)


def _params(owner: Owner, wish: Wish, generation: int) -> dict[str, object]:
    named = {"email": wish.email, "name": wish.name}
    metadata = {
        **(wish.metadata or {}),
        "tenure_owner": str(owner),
        "tenure_generation": str(generation),
    }
    return {**{k: v for k, v in named.items() if v}, "metadata": metadata}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
