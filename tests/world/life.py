"""One life: a provider where things happen, and we who hear of some of it, late and in disorder."""

import asyncio
import random  # noqa: TID251 (every choice comes from a seed that is printed)
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tenure.base.clock import StoppedClock
from tenure.base.db import Db, Scope
from tenure.base.errors import TenureError
from tenure.base.ids import Ids
from tenure.entry.worker.identity import KINDS
from tenure.entry.worker.tasks import ROUTES
from tenure.identity import poll
from tenure.identity.act import Policy
from tenure.identity.arrive import arrive
from tenure.identity.claims import Principal
from tenure.identity.directory import subject_of
from tenure.identity.fulfil import Fulfilment
from tenure.identity.instance import Instance
from tenure.identity.model import OrgId
from tenure.identity.seats import SeatDesk
from tenure.identity.sync import Inbound
from tenure.identity.walk import Walker
from tenure.identity.wish import Wishes
from tenure.identity.workos import WorkosDirectory
from tenure.journal import relay, store
from tenure.journal.errors import StaleFence
from tenure.journal.model import Claim, Knock, Subject
from tenure.journal.reconcile import Pace, Reconciler, drain, reconcile

from .desk import Desk
from .provider import Provider

ACTS = (12, 24)
NONE, LONG = timedelta(0), timedelta(hours=1)
PACE = Pace(lease=NONE, pause=NONE, concurrency=3, patience=timedelta(seconds=2))
GRAVE = timedelta(seconds=25)  # between rounds at the end: what was found missing may come back
ROUNDS = 16
Step = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, kw_only=True)
class Hand:
    """A look that a worker has in hand, and has not written yet."""

    reconciler: Reconciler[Any]
    claim: Claim
    seen: Any


@dataclass(kw_only=True)
class Life:
    provider: Provider
    chance: random.Random
    desk: Desk
    clock: StoppedClock
    ids: Ids
    policy: Policy
    times: Sequence[int]  # how often a knock may come
    diary: list[str] = field(default_factory=list)
    mail: list[Knock] = field(default_factory=list)
    heard: set[str] = field(default_factory=set)  # the events that reached us
    hands: list[Hand] = field(default_factory=list)
    pocket: list[Principal] = field(default_factory=list)
    told: int = 0

    def __post_init__(self) -> None:
        directory = self.provider.directory
        place: Any = {"db": self.db, "clock": self.clock}
        instance = Instance(directory=directory, **place) if directory else None
        inbound: list[Reconciler[Any]] = [
            Inbound(
                which=which,
                reader=self.provider.reader,
                directory=directory,
                db=self.db,
                clock=self.clock,
                ids=self.ids,
                policy=self.policy,
                instance=instance,
            )
            for which in KINDS
        ]
        terms: Any = {**place, "ids": self.ids}
        wishes = [Fulfilment(directory=directory, **terms)] if directory else []
        self.reconcilers = {one.kind: one for one in [*inbound, *wishes]}
        self.wishes = Wishes(**terms, policy=self.policy)
        self.seats = SeatDesk(**terms, policy=self.policy)

    @property
    def db(self) -> Db:
        return self.desk.db

    async def live(self) -> None:
        """Let things happen there and here."""
        await self.provider.begin()
        self.heard |= {knock.event_id for knock in self.provider.knocks()}
        self.told = len(self.heard)
        async with self.db.transaction() as tx:
            await store.put_knocks(tx, self.provider.knocks())
        await self.work_all()
        steps = self.steps()
        for _ in range(self.chance.randint(*ACTS)):
            self.diary.append(await self.provider.act())
            self.hear()
            self.clock.tick(self.pass_by())
            for _ in range(self.chance.randint(0, 3)):
                (step,) = self.chance.choices(list(steps), list(steps.values()))
                said = await step()
                if said is not None:
                    self.diary.append(f"  {step.__name__} {said}")  # type: ignore[attr-defined]
            await self.obey()

    def steps(self) -> dict[Step, float]:
        asked: dict[Step, float] = {
            self.trouble: 2.5,
            self.overtake: 1,
            self.wish: 2,
            self.walk_a_little: 0.7,
            self.poll: 1 if self.provider.name == poll.PROVIDER else 0,
        }
        return {
            self.deliver: 6,
            self.work: 7,
            self.hold: 2.5,
            self.write_held: 2,
            self.crash: 1,
            self.meet: 2,
            self.cut_off: 1,
            self.come: 2,
            self.limit: 1,
            self.relay: 1.5,
            self.hasten: 1,
            **(asked if self.provider.directory else {}),
        }

    def pass_by(self) -> timedelta:
        """Let often no time pass at all, so that things happen in one millisecond."""
        ms = self.chance.choice([0, 0, 1, 7, 800, 4_000, 20_000, 70_000])
        return timedelta(milliseconds=ms)

    def hear(self) -> None:
        """Put what was told in the mail: some of it never, some twice."""
        for knock in self.provider.knocks(self.told):
            self.told += 1
            self.mail += [knock] * self.chance.choice(self.times)

    async def deliver(self) -> str | None:
        """Bring some of the mail, in any order; some knocks wait very long."""
        self.chance.shuffle(self.mail)
        number = self.chance.randint(0, len(self.mail))
        await self.bring(number)
        return f"{number} knocks" if number else None

    async def bring(self, number: int) -> None:
        arriving, self.mail = self.mail[:number], self.mail[number:]
        self.heard |= {knock.event_id for knock in arriving}
        if arriving:
            async with self.db.transaction() as tx:
                await store.put_knocks(tx, arriving)

    async def due(self) -> list[str]:
        found = await self.desk.rows(
            """
            SELECT DISTINCT kind FROM tenure.subjects
             WHERE dirty_seq > settled_seq AND retry_at <= clock_timestamp()
               AND (lease_until IS NULL OR lease_until <= clock_timestamp()) ORDER BY kind
            """
        )
        return [row["kind"] for row in found]

    async def claim(self, limit: int, lease: timedelta) -> list[tuple[Reconciler[Any], Claim]]:
        due = await self.due()
        if not due:
            return []
        kind = self.chance.choice(due)
        async with self.db.statement() as tx:
            claims = await store.take_due(tx, kind, limit=limit, lease=lease)
        return [(self.reconcilers[kind], claim) for claim in claims]

    async def work(self) -> str | None:
        claims = await self.claim(self.chance.randint(1, 4), LONG)
        for reconciler, claim in claims:
            await reconcile(self.db, reconciler, claim, PACE, self.ids)
        return named(claims)

    async def hold(self) -> str | None:
        """Look, and write only later; with a lease that ends at once somebody else looks too."""
        claims = await self.claim(1, self.chance.choice([NONE, NONE, LONG]))
        for reconciler, claim in claims:
            try:
                seen = await reconciler.look(claim.subject)
            except TenureError as exc:
                await self.put_off(claim, exc)
                continue
            self.hands.append(Hand(reconciler=reconciler, claim=claim, seen=seen))
        return named(claims)

    async def write_held(self) -> str | None:
        if not self.hands:
            return None
        hand = self.hands.pop(self.chance.randrange(len(self.hands)))
        return f"{hand.claim.subject} {await self.put(hand)}"

    async def put(self, hand: Hand) -> str:
        try:
            async with self.db.transaction() as tx:
                await store.settle(tx, hand.claim, pause=NONE)
                await hand.reconciler.write(tx, hand.claim, hand.seen)
        except StaleFence:
            return "fenced"
        except TenureError as exc:
            await self.put_off(hand.claim, exc)
            return exc.code
        subject = hand.claim.subject
        last = await self.desk.rows(
            "SELECT fence FROM tenure.subjects WHERE kind = %s AND id = %s", *subject
        )
        if last[0]["fence"] != hand.claim.fence:
            raise AssertionError(f"{subject} was written by somebody who had lost it")
        return "written"

    async def overtake(self) -> str | None:
        """Ask for a member who is none, and write that when she has joined and others know it."""
        truth = self.provider.truth()
        pairs = [(o, u) for o in truth.organizations for u in truth.people]
        pair = self.chance.choice([pair for pair in pairs if pair not in truth.members] or [None])
        if pair is None:
            return None
        await self.provider.calm()
        subject = subject_of(self.provider.name, "membership", "/".join(pair))
        hand = await self.look_at(subject)
        joined, said = await self.provider.bring(pair), None
        self.hear()
        for _ in range(self.chance.randint(0, 2)):
            await self.chance.choice([self.work, self.come, self.walk_a_little, self.deliver])()
        if self.chance.random() < 0.6:
            other = await self.look_at(subject)
            said = other and await self.put(other)
        late = hand and await self.put(hand)
        return f"{subject.id} joined: {joined}, first {said}, {late}"

    async def look_at(self, subject: Subject) -> Hand | None:
        async with self.db.statement() as tx:
            claim = await store.take_one(tx, subject, lease=NONE)
        if claim is None:
            return None
        reconciler = self.reconcilers[subject.kind]
        try:
            seen = await reconciler.look(subject)
        except TenureError as exc:
            await self.put_off(claim, exc)
            return None
        return Hand(reconciler=reconciler, claim=claim, seen=seen)

    async def put_off(self, claim: Claim, exc: TenureError) -> None:
        async with self.db.statement() as tx:
            await store.put_off(tx, claim, error=f"{exc.code}: {exc}", wait=NONE)

    async def crash(self) -> str | None:
        """Lose what a worker had in hand."""
        if not self.hands:
            return None
        return str(self.hands.pop(self.chance.randrange(len(self.hands))).claim.subject)

    async def meet(self) -> str | None:
        """Let several workers, and whoever comes, write at the same time."""
        claims = await self.claim(4, LONG)
        more: list[Step] = self.chance.sample([self.come, self.limit, self.relay], 2)
        if self.provider.directory:
            more += [self.wish, self.chance.choice([self.poll, self.walk_a_little])]
        if self.hands:
            more.append(self.write_held)
        met = await asyncio.gather(
            *(reconcile(self.db, one, claim, PACE, self.ids) for one, claim in claims),
            *(step() for step in more),
            return_exceptions=True,
        )
        for problem in met:
            if isinstance(problem, BaseException):
                raise problem
        return f"{named(claims)}, {[step.__name__ for step in more]}"  # type: ignore[attr-defined]

    async def cut_off(self) -> str | None:
        """Kill a worker wherever it is."""
        due = await self.due()
        if not due:
            return None
        kind = self.chance.choice(due)
        pace = Pace(lease=self.chance.choice([NONE, LONG]), pause=NONE, concurrency=3)
        worker = asyncio.create_task(drain(self.db, self.reconcilers[kind], pace, self.ids))
        await asyncio.sleep(self.chance.random() * 0.01)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        return kind

    async def come(self) -> str | None:
        """Let somebody come with a token, of this moment or of some minutes ago."""
        fresh = self.provider.token()
        if fresh is not None:
            self.pocket.append(fresh)
        now = self.clock.now()
        self.pocket = [who for who in self.pocket if who.expires_at > now]
        if not self.pocket:
            return None
        who = self.chance.choice(self.pocket)
        await arrive(self.db, self.clock, self.ids, who)
        return f"{who.org_id}/{who.user_id} {who.role} as of {now - who.issued_at} ago"

    async def wish(self) -> str | None:
        rows = await self.desk.rows("SELECT org_id, user_id FROM tenure.memberships ORDER BY id")
        if not rows:
            return None
        row, wishes = self.chance.choice(rows), self.wishes
        scope = Scope(org_id=row["org_id"], user_id=row["user_id"])
        acts: list[Callable[..., Awaitable[object]]] = [
            *(wishes.deactivate, wishes.reactivate, wishes.remove, wishes.set_role)
        ]
        act = self.chance.choice(acts)
        role = [self.chance.choice(["admin", "member"])] if act == wishes.set_role else []
        try:
            await act(scope, row["user_id"], *role, actor="user:somebody")
        except TenureError as exc:
            return f"{act.__name__} {row['user_id']}: {exc.code}"
        return f"{act.__name__} {role} {row['org_id']} {row['user_id']}"

    async def limit(self) -> str | None:
        rows = await self.desk.rows("SELECT org_id FROM tenure.seats ORDER BY org_id")
        if not rows:
            return None
        org_id, limit = self.chance.choice(rows)["org_id"], self.chance.choice([None, 0, 1, 2, 3])
        await self.seats.fix(OrgId(org_id), limit, actor="user:somebody")
        return f"{org_id} {limit}"

    async def relay(self) -> str | None:
        return str(await relay.relay(self.db, ROUTES)) or None

    async def trouble(self) -> str | None:
        """Work while the provider is in trouble."""
        fault = await self.provider.trouble()
        said = await self.chance.choice([self.work, self.hold, self.poll, self.walk_a_little])()
        return f"{fault}: {said}"

    async def poll(self) -> str | None:
        directory = self.provider.directory
        if not isinstance(directory, WorkosDirectory):
            return None
        try:
            polled = await poll.poll(self.db, directory, self.clock)
        except TenureError as exc:
            return exc.code
        return str(polled)

    async def walk_a_little(self) -> str | None:
        return await self.walk(self.chance.randint(1, 6))

    async def walk(self, pages: int) -> str | None:
        directory = self.provider.directory
        assert directory is not None
        walker = Walker(
            directory=directory, db=self.db, clock=self.clock, ids=self.ids, policy=self.policy
        )
        walk = walker.walk()
        try:
            async for step in walk:
                pages -= 1
                if not pages:
                    return f"as far as {step.phase}"
        except TenureError as exc:
            return exc.code
        finally:
            await walk.aclose()
        return "to its end"

    async def hasten(self) -> str | None:
        """Let what was put off be due, and the leases of the dead end; see that nothing broke."""
        failed = await self.desk.rows(
            """
            UPDATE tenure.subjects SET retry_at = '-infinity', lease_until = NULL
             WHERE dirty_seq > settled_seq RETURNING kind, id, last_error
            """
        )
        errors = [row["last_error"] for row in failed if row["last_error"]]
        broken = [error for error in errors if not error.startswith(EXPECTED)]
        if broken:
            raise AssertionError(f"something broke: {broken}")
        return None

    async def obey(self) -> None:
        """See that what must hold at every moment does."""
        broken = await self.desk.rows(LAWS)
        if broken:
            raise AssertionError(f"a law is broken: {broken}")

    async def rest(self) -> None:
        """End all trouble, sweep once, and work until nothing is due."""
        for _ in range(self.chance.choice([0, 0, 1, 2]) if self.provider.directory else 0):
            self.diary.append(f"  at last {await self.trouble()}")
        await self.provider.calm()
        while self.hands:
            self.diary.append(f"  at last {await self.write_held()}")
        if self.provider.directory is None or 0 not in self.times:
            await self.bring(len(self.mail))
        if self.chance.random() < 0.5:
            await self.work_all()
        if self.provider.directory:
            self.clock.tick(timedelta(seconds=5))  # longer than any list is behind
            await self.sweep()
        self.diary.append("rest")
        for _ in range(ROUNDS):
            await self.work_all()
            left = await self.desk.rows(LEFT)
            if not left:
                return
            self.clock.tick(GRAVE)
        raise AssertionError(f"it never comes to rest: {left}")

    async def sweep(self) -> None:
        """Walk once; a walk that was cut off on its way goes to its end before."""
        under_way = await self.desk.rows("SELECT FROM tenure.walks WHERE phase <> 'ended'")
        for _ in range(1 + len(under_way)):
            self.diary.append(f"sweep {await self.walk(-1)}, {await self.poll()}")

    async def work_all(self) -> None:
        """Work until nothing is due; what was put off meanwhile waits for the next round."""
        await self.hasten()
        await relay.relay(self.db, ROUTES)
        while claims := await self.claim(8, LONG):
            await asyncio.gather(
                *(reconcile(self.db, one, claim, PACE, self.ids) for one, claim in claims)
            )
            self.diary.append(f"    {named(claims)}")
            await relay.relay(self.db, ROUTES)


EXPECTED = ("identity.provider_", "identity.wrong_instance", "identity.stale_answer")
LAWS = """
SELECT 'somebody stands where nobody can' AS law, m.org_id, m.user_id::text AS about
  FROM tenure.memberships m JOIN tenure.users u ON u.id = m.user_id
  JOIN tenure.organizations o ON o.id = m.org_id
 WHERE m.removed_at IS NULL AND (u.deleted_at IS NOT NULL OR o.deleted_at IS NOT NULL)
UNION ALL
SELECT 'whom we shut out is here', org_id, user_id::text FROM tenure.memberships
 WHERE wish IN ('inactive', 'removed') AND status <> 'inactive'
UNION ALL
SELECT 'seats are miscounted', s.org_id, concat(s.used, ' of ', s.seat_limit, ' and ', m)
  FROM tenure.seats s, LATERAL (
       SELECT count(*) FILTER (WHERE m.holds_seat) AS held,
              count(*) FILTER (WHERE NOT m.holds_seat AND status <> 'inactive') AS waiting
         FROM tenure.memberships m WHERE m.org_id = s.org_id) m
 WHERE s.used <> m.held OR (m.waiting > 0 AND (s.seat_limit IS NULL OR s.used < s.seat_limit))
"""
LEFT = """
SELECT kind, id, last_error FROM tenure.subjects WHERE dirty_seq > settled_seq ORDER BY kind, id
"""


def named(claims: Sequence[tuple[Reconciler[Any], Claim]]) -> str | None:
    return ", ".join(f"{c.subject.kind} {c.subject.id}" for _, c in claims) or None
