"""Delivery of webhooks, for every pretended provider: signed each time, tried again, unordered.

    courier = Courier(sign, clock, ids, http=client, schedule=Schedule(waits=(5, 300)), post=Post())

- `sign(letter_id, at, body, secret) -> headers`: called for each try. While an endpoint has two
  secrets it is called for both, and headers that differ are joined with a space (as Svix does).
- `schedule`: what the provider promises (waits between tries, timeout, abort header, …).
- `http`: posts the letters; `run` may bring it instead.
- `post`: letters, endpoints and deliveries; msgspec can save it, and a new Courier takes it up.

`Letter`, `Schedule` and `Post` are in `sandbox/post.py`, the trouble in `sandbox/mischief.py`.

    endpoint = courier.register(url, secret, ["user.*"])   # no kinds: all; they are globs
    courier.send(Letter(id="msg_1", kind="user.created", body=b"{}"))
    courier.replay("msg_1")                  # as from the dashboard: same id, new timestamp
    courier.roll(endpoint.id, secret, keep=True)           # sign with the new and the old secret
    courier.deliveries()                     # JSON: id, event, type, status, answers, planned_at, …
    courier.letters()                        # everything ever sent, in order, delivered or not

Trouble, each for the next `count` letters (-1: all) whose kind matches the glob:

    courier.mischief.plan(name, match="user.*", count=3, seconds=2.0, seed=7)

`lose` (or `drop`); `double`; `delay` by seconds; `replay` after seconds, though it was delivered;
`reorder` and `permute` hold `count` letters (at most for `seconds`), then deliver them last first,
or in an order that `seed` decides. `courier.calm()` ends all trouble and lets go of what is held.

Two ways to make it work:

    await courier.run(client)         # a server: beside the application, until canceled
    await courier.deliver_due()       # a test with a StoppedClock: one by one, in order of time,
                                      # whatever is due now; tells how many tries it made
    courier.next_due()                # where to set the clock for the next of them, or None
    courier.retry_now()               # make every waiting retry due at once
    courier.busy()                    # is anything due, held or under way?

`sandbox/mailroom.py` makes the doors to all of this under `/_sandbox`, for any sandbox.

`send` may be called outside of a running loop; all else belongs to one thread.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from itertools import count
from typing import Any

import httpx

from tenure.base.clock import Clock, moment
from tenure.base.errors import TenureError
from tenure.base.ids import Ids
from tenure.sandbox.mischief import Mischief, Trouble
from tenure.sandbox.post import Delivery, Endpoint, Letter, Post, Schedule

AT_ONCE = 32
LOOK_AGAIN = 0.25  # seconds; a clock may be moved by somebody who does not tell
OK = range(200, 300)

Sign = Callable[[str, datetime, bytes, str], Mapping[str, str]]


class NoSuchLetter(TenureError):
    """A webhook or an endpoint was named that the courier does not know."""

    code = "sandbox.no_such_letter"
    hint = "GET /_sandbox/events lists what was sent, GET /_sandbox/webhook_endpoints where to."


class Courier:
    """Carries letters to the endpoints that want them."""

    def __init__(
        self,
        sign: Sign,
        clock: Clock,
        ids: Ids,
        *,
        http: httpx.AsyncClient | None = None,
        schedule: Schedule | None = None,
        post: Post | None = None,
    ) -> None:
        self._sign = sign
        self._clock = clock
        self._ids = ids
        self._http = http
        self._schedule = schedule or Schedule()
        self._post = post or Post()
        self.mischief = Mischief[Delivery](ids)
        self._order = count()
        self._wake = asyncio.Event()
        self._flying: set[asyncio.Task[None]] = set()
        self.works = False  # whether `run` is at it
        self._queue: list[tuple[float, int, list[Delivery]]] = []
        waiting = (d for d in self._post.deliveries.values() if d.status in {"pending", "held"})
        for delivery in waiting:
            delivery.status = "pending"
            self._line_up([delivery])

    def register(self, url: str, secret: str, kinds: Iterable[str] = ()) -> Endpoint:
        """Send letters of these kinds to `url` from now on."""
        name = self._ids.token("ep_", 16)
        endpoint = Endpoint(id=name, url=url, secrets=[secret], kinds=list(kinds))
        self._post.endpoints[name] = endpoint
        return endpoint

    def endpoints(self) -> Sequence[Endpoint]:
        """List where letters are sent to."""
        return list(self._post.endpoints.values())

    def roll(self, endpoint_id: str, secret: str, *, keep: bool = True) -> Endpoint:
        """Sign with a new secret, and with the present one too if it is to be kept.

        Errors: NoSuchLetter.
        """
        endpoint = self._known(self._post.endpoints, endpoint_id)
        endpoint.secrets = [secret, *(endpoint.secrets[:1] if keep else [])]
        endpoint.enabled, endpoint.failing_since = True, None
        return endpoint

    def forget(self, endpoint_id: str) -> None:
        """Send nothing there any more.

        Errors: NoSuchLetter.
        """
        self._known(self._post.endpoints, endpoint_id).enabled = False
        del self._post.endpoints[endpoint_id]

    def letters(self) -> Sequence[Letter]:
        """List everything that was ever sent, in the order of sending."""
        return list(self._post.letters.values())

    def deliveries(self) -> list[dict[str, Any]]:
        """Show what became of the letters, oldest first."""
        return [asdict(delivery) for delivery in self._post.deliveries.values()]

    def send(self, letter: Letter) -> None:
        """Keep a letter and plan its deliveries, with whatever trouble was asked for."""
        self._post.letters[letter.id] = letter
        kind, mischief = letter.kind, self.mischief
        endpoints = [e for e in self._post.endpoints.values() if e.wants(kind)]
        if not endpoints or mischief.take("lose", kind):
            return
        copies = 2 if mischief.take("double", kind) else 1
        delay, again = mischief.take("delay", kind), mischief.take("replay", kind)
        hold = mischief.take("reorder", kind) or mischief.take("permute", kind)
        wait = delay.seconds if delay else 0.0
        planned = [self._plan(letter, endpoint, wait) for endpoint in endpoints * copies]
        if again:
            self._line_up(*([self._plan(letter, e, wait + again.seconds)] for e in endpoints))
        if hold is None:
            self._line_up(*([delivery] for delivery in planned))
        else:
            self._hold(hold, planned)

    def replay(self, letter_id: str) -> list[str]:
        """Deliver a letter again to every endpoint that wants it; tell the new deliveries.

        Errors: NoSuchLetter.
        """
        letter = self._known(self._post.letters, letter_id)
        planned = [
            self._plan(letter, e, 0.0)
            for e in self._post.endpoints.values()
            if e.wants(letter.kind)
        ]
        self._line_up(*([delivery] for delivery in planned))
        return [delivery.id for delivery in planned]

    def calm(self) -> None:
        """End all trouble, and let go of what it held back."""
        held = self.mischief.clear()
        self._free(held)

    def retry_now(self) -> int:
        """Make everything that waits due at once; tell how many deliveries that are."""
        now, trains = self._now(), [train for _, _, train in sorted(self._queue)]
        self._queue.clear()
        for delivery in (delivery for train in trains for delivery in train):
            delivery.next_at = now
        self._line_up(*trains)
        return sum(map(len, trains))

    def next_due(self) -> datetime | None:
        """Tell when there is something to do next."""
        ends = [self._queue[0][0]] if self._queue else []
        if (end := self.mischief.next_end()) is not None:
            ends.append(end)
        return moment(min(ends)) if ends else None

    def busy(self) -> bool:
        """Tell whether anything is due, held back or under way."""
        due = bool(self._queue) and self._queue[0][0] <= self._now()
        return due or bool(self._flying) or self.mischief.next_end() is not None

    async def deliver_due(self) -> int:
        """Try everything that is due, one after the other; tell how many tries that took."""
        tries = 0
        while train := self._due():
            tries += len(train)
            await self._carry(train)
        return tries

    async def run(self, http: httpx.AsyncClient | None = None) -> None:
        """Deliver until canceled."""
        self._http = http or self._http
        places = asyncio.Semaphore(AT_ONCE)
        self.works = True
        try:
            while True:
                self._wake.clear()
                while train := self._due():
                    task = asyncio.create_task(self._carry_at(places, train))
                    self._flying.add(task)
                    task.add_done_callback(self._flying.discard)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._nap()):
                        await self._wake.wait()
        finally:
            self.works = False
            flying = list(self._flying)
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _known(self, table: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 (what the table holds)
        if key not in table:
            raise NoSuchLetter(f"the courier knows no {key}")
        return table[key]

    def _nap(self) -> float | None:
        due = self.next_due()
        return None if due is None else min(max(due.timestamp() - self._now(), 0.0), LOOK_AGAIN)

    def _plan(self, letter: Letter, endpoint: Endpoint, wait: float) -> Delivery:
        now = self._now()
        delivery = Delivery(
            id=self._ids.token("wd_", 16),
            event=letter.id,
            type=letter.kind,
            endpoint=endpoint.id,
            url=endpoint.url,
            planned_at=now,
            next_at=_exact(now + wait),
        )
        self._post.deliveries[delivery.id] = delivery
        return delivery

    def _line_up(self, *trains: list[Delivery]) -> None:
        """Queue deliveries; those of one train go one after the other."""
        for train in trains:
            heapq.heappush(self._queue, (train[0].next_at, next(self._order), train))
        self._wake.set()

    def _hold(self, trouble: Trouble[Delivery], planned: list[Delivery]) -> None:
        for delivery in planned:
            delivery.status = "held"
        if not trouble.held:
            trouble.until = _exact(self._now() + trouble.seconds)
        trouble.held += planned
        self._let_go()
        self._wake.set()

    def _let_go(self) -> None:
        for trouble in self.mischief.over(self._now()):
            self._free(trouble.release())

    def _free(self, held: list[Delivery]) -> None:
        now = self._now()
        for delivery in held:
            delivery.status, delivery.next_at = "pending", max(now, delivery.next_at)
        if held:
            self._line_up(held)

    def _due(self) -> list[Delivery]:
        """Take the next train whose time has come; an empty one: there is none."""
        self._let_go()
        if self._queue and self._queue[0][0] <= self._now():
            return heapq.heappop(self._queue)[2]
        return []

    async def _carry_at(self, places: asyncio.Semaphore, train: list[Delivery]) -> None:
        async with places:
            await self._carry(train)

    async def _carry(self, train: list[Delivery]) -> None:
        for delivery in train:
            await self._attempt(delivery)

    async def _attempt(self, delivery: Delivery) -> None:
        """Try once, signed with the present time: a receiver refuses an old one."""
        endpoint = self._post.endpoints.get(delivery.endpoint)
        if endpoint is None or not endpoint.enabled:
            delivery.status = "dropped"
            return
        delivery.attempts += 1
        letter = self._post.letters[delivery.event]
        answer = await self._post_it(endpoint, letter)
        if isinstance(answer, str):
            delivery.answers.append(answer)
            self._note(delivery, endpoint, good=False, over=False)
            return
        delivery.answers.append(answer.status_code)
        abort = self._schedule.abort
        over = abort is not None and answer.headers.get(abort[0]) == abort[1]
        self._note(delivery, endpoint, good=answer.status_code in OK, over=over)

    async def _post_it(self, endpoint: Endpoint, letter: Letter) -> httpx.Response | str:
        """Post a letter; give the answer, or the name of what prevented one."""
        if self._http is None:
            raise RuntimeError("the courier was given no HTTP client")
        headers = {"content-type": "application/json", **self._schedule.headers}
        try:
            async with asyncio.timeout(self._schedule.timeout):
                return await self._http.post(
                    endpoint.url,
                    content=letter.body,
                    headers=headers | self._signed(endpoint, letter),
                    follow_redirects=False,
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return type(error).__name__

    def _signed(self, endpoint: Endpoint, letter: Letter) -> dict[str, str]:
        at, headers = self._clock.now(), dict[str, str]()
        for secret in endpoint.secrets:
            for name, value in self._sign(letter.id, at, letter.body, secret).items():
                known = headers.get(name)
                headers[name] = value if known in {None, value} else f"{known} {value}"
        return headers

    def _note(self, delivery: Delivery, endpoint: Endpoint, *, good: bool, over: bool) -> None:
        """Finish a delivery, or plan its next try."""
        now = self._now()
        wait = None if over else self._schedule.wait(delivery.attempts)
        if good:
            delivery.status, delivery.delivered_at = "delivered", now
            endpoint.failing_since = None
            return
        if endpoint.failing_since is None:
            endpoint.failing_since = now
        limit = self._schedule.disable_after
        if limit is not None and now - endpoint.failing_since >= limit * self._schedule.scale:
            endpoint.enabled = False
        if wait is None:
            delivery.status = "failed"
        else:
            delivery.next_at = _exact(now + wait)
            self._line_up([delivery])


def _exact(seconds: float) -> float:
    """Cut to what a datetime can say, so that a clock set to `next_due` has reached it."""
    return round(seconds, 6)
