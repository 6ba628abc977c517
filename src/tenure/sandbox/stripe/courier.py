"""Delivery of events: signed, tried again with growing pauses, never in a promised order."""

import asyncio
import json
from collections.abc import Sequence
from fnmatch import fnmatchcase

import httpx

from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.faults import Faults
from tenure.sandbox.stripe.model import API_VERSION, Obj, Policy
from tenure.sandbox.stripe.signing import signature
from tenure.sandbox.stripe.state import State

AT_ONCE = 32
FOREVER = 9e15
OK = range(200, 300)


class Courier:
    """Carries events to the endpoints that asked for them."""

    def __init__(
        self, state: State, policy: Policy, faults: Faults, books: Sequence[Books]
    ) -> None:
        self._state = state
        self._policy = policy
        self._faults = faults
        self._books = {b.mode: b for b in books}
        self._wake = asyncio.Event()
        self._flying: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, Obj] = {}
        self._held: list[Obj] = []
        self._last_created = 0
        for each in books:
            each.told = self.take

    def _now(self) -> float:
        return self._books["test"].clock.now().timestamp()

    def take(self, books: Books, event: Obj) -> None:
        """Plan the deliveries of a new event, and whatever trouble was asked for."""
        kind = event["type"]
        if self._last_created and self._faults.take("tie", kind):
            event["created"] = self._last_created
        self._last_created = event["created"]
        endpoints = [
            e
            for e in books.table("webhook_endpoint").values()
            if e["status"] == "enabled" and _wants(e, kind)
        ]
        event["pending_webhooks"] = len(endpoints)
        if not endpoints or self._faults.take("lose", kind):
            return
        copies = 2 if self._faults.take("double", kind) else 1
        delay = self._faults.take("delay", kind)
        reorder = self._faults.take("reorder", kind)
        for endpoint in endpoints * copies:
            planned = self.plan(books, event, endpoint, delay.seconds if delay else 0.0)
            if reorder:
                self._hold(planned, reorder.seconds, full=reorder.left == 0)

    def plan(self, books: Books, event: Obj, endpoint: Obj, delay: float = 0.0) -> Obj:
        """Plan one delivery, due after `delay`."""
        now = self._now()
        delivery: Obj = {
            "id": books.ids.token("wd_", 16),
            "mode": books.mode,
            "event": event["id"],
            "type": event["type"],
            "endpoint": endpoint["id"],
            "url": endpoint["url"],
            "status": "pending",
            "attempts": 0,
            "planned_at": now,
            "next_at": now + delay,
            "answers": [],
        }
        self._state.deliveries[delivery["id"]] = delivery
        self._waiting[delivery["id"]] = delivery
        self._wake.set()
        return delivery

    def _hold(self, delivery: Obj, seconds: float, *, full: bool) -> None:
        """Keep a delivery back, so that later ones pass it; let the batch go, last first."""
        self._waiting.pop(delivery["id"])
        delivery["status"] = "held"
        self._held.append(delivery)
        loop = asyncio.get_running_loop()
        if full:
            loop.call_soon(self._release)
        elif len(self._held) == 1:
            loop.call_later(seconds, self._release)

    def _release(self) -> None:
        batch, self._held = self._held[::-1], []
        if batch:
            for delivery in batch:
                delivery["status"] = "pending"
            self._flying[batch[0]["id"]] = asyncio.create_task(self._carry_in_order(batch))

    async def _carry_in_order(self, batch: Sequence[Obj]) -> None:
        try:
            for delivery in batch:
                await self._attempt(self._client, delivery)
        finally:
            self._flying.pop(batch[0]["id"], None)

    async def run(self, client: httpx.AsyncClient) -> None:
        """Deliver until canceled."""
        self._client = client
        self._places = asyncio.Semaphore(AT_ONCE)
        self.reload()
        try:
            while True:
                self._wake.clear()
                self._start_due()
                upcoming = min((d["next_at"] for d in self._waiting.values()), default=FOREVER)
                await self._sleep_until(upcoming)
        finally:
            for task in list(self._flying.values()):
                task.cancel()
            await asyncio.gather(*self._flying.values(), return_exceptions=True)

    def _start_due(self) -> None:
        now = self._now()
        for delivery in [d for d in self._waiting.values() if d["next_at"] <= now]:
            del self._waiting[delivery["id"]]
            self._flying[delivery["id"]] = asyncio.create_task(self._carry(delivery))

    async def _sleep_until(self, upcoming: float) -> None:
        try:
            async with asyncio.timeout(min(max(upcoming - self._now(), 0.0), 3_600)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _carry(self, delivery: Obj) -> None:
        try:
            async with self._places:
                await self._attempt(self._client, delivery)
        finally:
            self._flying.pop(delivery["id"], None)

    async def _attempt(self, client: httpx.AsyncClient, delivery: Obj) -> None:
        """Try once: signed anew, because a receiver refuses an old `t`."""
        books = self._books[delivery["mode"]]
        endpoint = books.find("webhook_endpoint", delivery["endpoint"])
        event = books.find("event", delivery["event"])
        if endpoint is None or event is None or endpoint["status"] != "enabled":
            delivery["status"] = "dropped"
            return
        body = self._body(books, event, endpoint)
        header = signature(body, endpoint["_secrets"], books.real_now())
        delivery["attempts"] += 1
        try:
            answer = await client.post(
                endpoint["url"],
                content=body,
                headers={
                    "Content-Type": "application/json; charset=utf-8",
                    "Stripe-Signature": header,
                    "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
                },
            )
            delivery["answers"].append(answer.status_code)
            good = answer.status_code in OK
        except httpx.HTTPError as error:
            delivery["answers"].append(type(error).__name__)
            good = False
        self._note(delivery, event, good=good)

    def _body(self, books: Books, event: Obj, endpoint: Obj) -> bytes:
        shown = books.show(event)
        shown["api_version"] = endpoint["api_version"] or API_VERSION
        return json.dumps(shown, separators=(",", ":")).encode()

    def _note(self, delivery: Obj, event: Obj, *, good: bool) -> None:
        """Finish a delivery, or plan its next attempt while the retry time lasts."""
        now = self._now()
        if good:
            delivery["status"] = "delivered"
            delivery["delivered_at"] = now
            event["pending_webhooks"] = max(event["pending_webhooks"] - 1, 0)
        elif now - delivery["planned_at"] > self._policy.webhook_retry_for:
            delivery["status"] = "failed"
        else:
            steps = self._policy.webhook_backoff
            delivery["next_at"] = now + steps[min(delivery["attempts"], len(steps)) - 1]
            self._waiting[delivery["id"]] = delivery
            self._wake.set()

    def reload(self) -> None:
        """Take up again what a loaded state had not delivered."""
        self._held.clear()
        self._waiting = {
            name: delivery
            for name, delivery in self._state.deliveries.items()
            if delivery["status"] in {"pending", "held"} and name not in self._flying
        }
        for delivery in self._waiting.values():
            delivery["status"] = "pending"
        self._wake.set()

    def retry_now(self) -> int:
        """Make every waiting delivery due at once; give their number."""
        for delivery in self._waiting.values():
            delivery["next_at"] = self._now()
        self._wake.set()
        return len(self._waiting)

    def busy(self) -> bool:
        """Tell whether something is due, held back or under way."""
        now = self._now()
        due = any(d["next_at"] <= now for d in self._waiting.values())
        return due or bool(self._held) or bool(self._flying)


def _wants(endpoint: Obj, kind: str) -> bool:
    return any(p == "*" or fnmatchcase(kind, p) for p in endpoint["enabled_events"])
