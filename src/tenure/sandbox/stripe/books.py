"""The objects of one mode (test or live): kept, found, shown, and every change told."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import cast

from tenure.base.clock import Clock
from tenure.base.ids import Ids
from tenure.sandbox.stripe.errors import missing
from tenure.sandbox.stripe.model import API_VERSION, Caller, Obj, Policy
from tenure.sandbox.stripe.render import differences, render
from tenure.sandbox.stripe.shapes import blank
from tenure.sandbox.stripe.state import State

PREFIXES = {
    "customer": "cus_",
    "product": "prod_",
    "price": "price_",
    "entitlements.feature": "feat_",
    "product_feature": "prodft_",
    "entitlements.active_entitlement": "ent_",
    "payment_method": "pm_",
    "checkout.session": "cs_",
    "item": "li_",
    "setup_intent": "seti_",
    "billing_portal.session": "bps_",
    "billing_portal.configuration": "bpc_",
    "subscription": "sub_",
    "subscription_item": "si_",
    "invoice": "in_",
    "line_item": "il_",
    "invoiceitem": "ii_",
    "invoice_payment": "inpay_",
    "test_helpers.test_clock": "clock_",
    "event": "evt_",
    "webhook_endpoint": "we_",
    "billing.meter": "mtr_",
    "billing.meter_event": "mev_",
}


class Books:
    """One mode's objects. Nothing here waits, so each handler's change is atomic."""

    def __init__(self, state: State, policy: Policy, *, live: bool, clock: Clock, ids: Ids) -> None:
        self.state = state
        self.policy = policy
        self.live = live
        self.clock = clock
        self.ids = ids
        self.caller = Caller()
        self.at: int | None = None
        self.told: Callable[[Books, Obj], None] = _nobody
        self._owned: dict[tuple[str, str], list[str]] = {}

    @property
    def mode(self) -> str:
        """Name the mode."""
        return "live" if self.live else "test"

    def table(self, kind: str) -> dict[str, Obj]:
        """Give all objects of a kind by id, oldest first."""
        return self.state.tables[self.mode].setdefault(kind, {})

    def new_id(self, kind: str) -> str:
        """Name a new object."""
        prefix = PREFIXES[kind]
        if kind == "checkout.session":
            prefix += f"{self.mode}_"
        return self.ids.token(prefix, 58 if kind == "checkout.session" else 24)

    def add(self, kind: str, fields: Obj, *, at: int, object_id: str | None = None) -> Obj:
        """Keep a new object, filled up with its kind's quiet shape."""
        made = blank(kind, object_id or self.new_id(kind), created=at, livemode=self.live)
        made.update(fields)
        self.table(kind)[made["id"]] = made
        owner = made.get("customer")
        if isinstance(owner, str):
            self._owned.setdefault((kind, owner), []).append(made["id"])
        return made

    def give(self, kind: str, obj: Obj, customer: str | None) -> None:
        """Change whose an object is."""
        before = obj["customer"]
        if before:
            self._owned[kind, before].remove(obj["id"])
        obj["customer"] = customer
        if customer:
            self._owned.setdefault((kind, customer), []).append(obj["id"])

    def owned(self, kind: str, customer: str) -> list[Obj]:
        """Give a customer's objects of a kind, oldest first."""
        table = self.table(kind)
        return [table[name] for name in self._owned.get((kind, customer), []) if name in table]

    def reindex(self) -> None:
        """Work out anew who owns what, after a load."""
        self._owned.clear()
        for kind, table in self.state.tables[self.mode].items():
            for name, obj in table.items():
                if isinstance(obj.get("customer"), str):
                    self._owned.setdefault((kind, obj["customer"]), []).append(name)

    def find(self, kind: str, object_id: str) -> Obj | None:
        """Give an object, or nothing when it is gone or never was."""
        found = self.table(kind).get(object_id)
        return None if found is None or found.get("_deleted") else found

    def get(self, kind: str, object_id: str, param: str = "id") -> Obj:
        """Give an object.

        Errors: resource_missing, which says so when the id belongs to the other mode.
        """
        found = self.find(kind, object_id)
        if found is not None:
            return found
        other = "test" if self.live else "live"
        elsewhere = object_id in self.state.tables[other].get(kind, {})
        raise missing(kind, object_id, param, other_mode=other if elsewhere else "")

    def real_now(self) -> int:
        """Tell the machine's time, as signatures and events carry it."""
        return int(self.clock.now().timestamp())

    def now(self, clock_id: str | None = None) -> int:
        """Tell the time as a customer on that test clock, or on none, lives it."""
        if clock_id is not None:
            return cast("int", self.table("test_helpers.test_clock")[clock_id]["frozen_time"])
        return self.at if self.at is not None else self.real_now() + self.state.offset

    def now_of(self, obj: Obj) -> int:
        """Tell the time as that object lives it."""
        return self.now(obj.get("test_clock"))

    def show(self, obj: Obj) -> Obj:
        """Copy an object as a caller sees it."""
        return render(self.table, obj)

    def tell(self, kind: str, obj: Obj, previous: Obj | None = None) -> Obj:
        """Record that something happened, and hand it on for delivery."""
        data: Obj = {"object": self.show(obj)}
        if previous is not None:
            data["previous_attributes"] = previous
        request = {
            "id": self.caller.request_id,
            "idempotency_key": self.caller.idempotency_key,
        }
        fields: Obj = {"type": kind, "data": data, "request": request, "api_version": API_VERSION}
        event = self.add("event", fields, at=self.real_now())
        self.told(self, event)
        return event

    @contextmanager
    def changing(self, obj: Obj, kind: str) -> Generator[Obj]:
        """Tell one event with `previous_attributes` if the block changed what is shown."""
        before = self.show(obj)
        yield obj
        previous = differences(before, self.show(obj))
        if previous:
            self.tell(kind, obj, previous)


def _nobody(_books: Books, _event: Obj) -> None:
    """Hear an event before anybody listens."""
