"""The single writer: only this file changes what we keep about a Stripe customer."""

from dataclasses import dataclass, replace
from datetime import datetime

from tenure.base.clock import Clock
from tenure.base.db import Db, Tx
from tenure.base.ids import Ids
from tenure.base.log import log
from tenure.billing import copies, projection, rules, store
from tenure.billing.errors import NoSuchObject
from tenure.billing.model import CUSTOMER, Account, Customer, Owner, Status, Subscription
from tenure.billing.stripe import Snapshot, Stripe
from tenure.journal import audit, news
from tenure.journal.model import Claim, Entry, Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Stripe says that it does not have this customer."""

    stripe_customer_id: str
    mixed_up: bool  # it is there in the other mode, test or live


@dataclass(frozen=True, slots=True, kw_only=True)
class Customers:
    """The reconciler of Stripe customers: looks at Stripe, writes our copy."""

    db: Db
    stripe: Stripe
    clock: Clock
    ids: Ids

    @property
    def kind(self) -> str:
        """Name the kind of subject."""
        return CUSTOMER

    async def look(self, subject: Subject) -> Account | Missing:
        """Ask Stripe for everything about one customer, as it is now.

        Errors: StripeTrouble.
        """
        looked_at = self.clock.now()
        try:
            seen = await self.stripe.look_at(subject.id)
        except NoSuchObject as exc:
            return Missing(stripe_customer_id=subject.id, mixed_up=bool(exc.facts.get("mixed_up")))
        kept = await self._rows(subject.id)
        seen = await self._confirm(seen, {s.id for s in kept})
        account = projection.project(
            seen.customer,
            subscriptions=seen.subscriptions,
            entitlements=seen.entitlements,
            payment_methods=seen.payment_methods,
            open_invoices=seen.open_invoices,
            looked_at=looked_at,
            livemode=self.stripe.livemode,
        )
        late = tuple(rules.late_since(s, kept, looked_at) for s in account.subscriptions)
        account = replace(account, subscriptions=late)
        return account if account.profile else _ended(account, kept)

    async def write(self, tx: Tx, claim: Claim, seen: Account | Missing) -> None:
        """Write the difference with its audit lines and its news."""
        customer = await store.get_by_stripe_id(tx, claim.subject.id)
        if isinstance(seen, Missing):
            await self._write_missing(tx, customer, seen)
            return
        owner = customer.owner if customer else await self._adopt(tx, seen)
        if owner is None:
            log.warning("billing.sync.nobodys_customer", customer=claim.subject.id)
            return
        before = await copies.get_account(tx, customer) if customer else None
        await store.put_profile(tx, seen)
        if before is None or _kept_parts(before) != _kept_parts(seen):
            await copies.put_account(tx, seen, owner, fence=claim.fence)
        await self._tell(tx, owner, before, seen)

    async def _tell(self, tx: Tx, owner: Owner, before: Account | None, seen: Account) -> None:
        told = rules.story(before, seen)
        for action, details in told:
            entry = _entry(owner, seen.looked_at, action, seen.stripe_customer_id)
            await audit.append(tx, replace(entry, details=details))
        if told:
            await news.append(
                tx,
                "billing.changed",
                org_id=owner.org_id,
                user_id=owner.user_id,
                payload={"customer": seen.stripe_customer_id, "what": [what for what, _ in told]},
            )

    async def _adopt(self, tx: Tx, seen: Account) -> Owner | None:
        """Give an unknown customer to the owner its metadata names, where that owner has none."""
        profile = seen.profile
        owner = Owner.named(profile.metadata.get("tenure_owner", "")) if profile else None
        if profile is None or owner is None or not await store.owner_exists(tx, owner):
            return None
        made = Customer.new(
            self.ids.uuid(),
            owner,
            profile,
            stripe_customer_id=seen.stripe_customer_id,
            livemode=seen.livemode,
            generation=max(
                1 + await store.last_generation(tx, owner, livemode=seen.livemode),
                rules.generation_of(profile.metadata),  # or its key would be sent again
            ),
            at=seen.looked_at,
        )
        if not await store.put_customer(tx, made):
            return None
        entry = _entry(owner, seen.looked_at, "customer.adopted", seen.stripe_customer_id)
        await audit.append(tx, entry)
        return owner

    async def _write_missing(self, tx: Tx, customer: Customer | None, seen: Missing) -> None:
        if customer is None:
            return
        why = "it is in Stripe's other mode" if seen.mixed_up else "Stripe does not know it"
        await store.put_missing(tx, seen.stripe_customer_id, why=why, at=self.clock.now())
        if customer.sync_status != "missing":
            entry = _entry(
                customer.owner, self.clock.now(), "customer.missing", seen.stripe_customer_id
            )
            await audit.append(tx, replace(entry, details={"why": why}))

    async def _confirm(self, seen: Snapshot, kept: set[str]) -> Snapshot:
        """Ask for each subscription we keep that the list lacks: absence alone proves nothing."""
        listed = {s["id"] for s in seen.subscriptions}
        asked = [await self.stripe.subscription(lost) for lost in sorted(kept - listed)]
        mine = seen.customer["id"]
        found = tuple(s for s in asked if s is not None and s["customer"] == mine)
        return replace(seen, subscriptions=seen.subscriptions + found)

    async def _rows(self, stripe_customer_id: str) -> tuple[Subscription, ...]:
        async with self.db.statement() as tx:
            return await copies.list_subscriptions(tx, stripe_customer_id)


def _ended(account: Account, kept: tuple[Subscription, ...]) -> Account:
    """Read a deleted customer: its subscriptions are over, whatever their last state was."""
    known = {s.id: s for s in kept} | {s.id: s for s in account.subscriptions}
    at = account.looked_at
    return replace(account, subscriptions=tuple(_canceled(s, at) for s in known.values()))


def _canceled(subscription: Subscription, at: datetime) -> Subscription:
    if not subscription.is_live:
        return subscription
    return replace(subscription, status=Status.CANCELED, canceled_at=at, ended_at=at)


def _kept_parts(account: Account) -> tuple[object, ...]:
    return (
        sorted(account.subscriptions, key=lambda s: s.id),
        sorted(account.entitlements, key=lambda e: e.lookup_key),
        sorted(account.payment_methods, key=lambda m: m.id),
    )


def _entry(owner: Owner, at: datetime, action: str, subject: str) -> Entry:
    return Entry(
        org_id=owner.org_id,
        user_id=owner.user_id,
        at=at,
        actor="stripe",
        action=action,
        subject=subject,
    )
