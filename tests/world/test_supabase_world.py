"""Users come, change and go in auth.users, some of it unheard; after a walk ours are the same."""

import os
import random  # noqa: TID251 (every choice comes from a seed that is printed)
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tenure.base.clock import StoppedClock
from tenure.base.db import Db
from tenure.base.ids import CountedIds
from tenure.identity.act import UNLIMITED, Policy
from tenure.identity.supabase import SupabaseDirectory
from tenure.identity.sync import Inbound
from tenure.identity.walk import Walker
from tenure.journal.reconcile import Pace, drain
from tests.identity.supabase_scene import Scene, a_scene

LIVES = int(os.environ.get("TENURE_WORLD_LIVES", "1000")) // 4
SEED = int(os.environ.get("TENURE_WORLD_SEED") or secrets.randbelow(1_000_000))
BATCH = 20
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PACE = Pace(pause=timedelta(0), concurrency=2, patience=timedelta(seconds=20))
Truth = dict[str, tuple[object, ...]]


@pytest.fixture
def scene(url: str) -> Iterator[Scene]:
    with a_scene(url) as made:
        yield made


@pytest.mark.parametrize("batch", range(max(1, LIVES // BATCH)))
async def test_our_users_end_as_supabase_auth_s(scene: Scene, db: Db, batch: int) -> None:
    """M7, B1: convergence, though triggers are off for some of it."""
    clock = StoppedClock(NOON)
    for life in range(batch * BATCH, (batch + 1) * BATCH):
        await live(scene, db, clock, SEED + life)
        theirs, ours = truth(scene), state(scene)
        assert ours == theirs, f"TENURE_WORLD_SEED={SEED + life}"


async def live(scene: Scene, db: Db, clock: StoppedClock, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 (chance, not secrecy)
    deaf = replace(scene, auth=scene.conn)
    directory = SupabaseDirectory(db, clock)
    ids = CountedIds(seed)
    inbound = Inbound(
        which="user", reader=directory, directory=directory, db=db, clock=clock, ids=ids,
        policy=Policy(absence_limit=UNLIMITED),
    )  # fmt: skip
    people: list[UUID] = []
    for n in range(chance.randint(6, 14)):
        unheard = chance.random() < 0.3
        scene.conn.execute(f"SET session_replication_role = {'replica' if unheard else 'origin'}")
        act(deaf if unheard else scene, chance, people, UUID(int=(seed << 32) + n + 1))
        clock.tick(timedelta(seconds=chance.randint(1, 90)))
        if chance.random() < 0.5:
            await drain(db, inbound, PACE, ids)
    scene.conn.execute("SET session_replication_role = origin")
    clock.tick(timedelta(minutes=2))
    policy = Policy(absence_limit=UNLIMITED)  # as the worker's: our own database is the right one
    walker = Walker(directory=directory, db=db, clock=clock, ids=ids, policy=policy)
    async for _ in walker.walk():
        pass
    await drain(db, inbound, PACE, ids)


def act(scene: Scene, chance: random.Random, people: list[UUID], new: UUID) -> None:
    if not people or chance.random() < 0.4:
        scene.signs_up(new, email=f"{new.hex[-16:]}@example.test")
        people.append(new)
        return
    user = chance.choice(people)
    change = chance.choice(["email", "ban", "unban", "sign in", "goes", "goes softly"])
    if change == "email":
        scene.changes(user, email=f"{chance.randint(1, 999)}-{user.hex[-16:]}@example.test")
    elif change in {"ban", "unban"}:
        scene.changes(user, banned_until=NOON + timedelta(days=900) if change == "ban" else None)
    elif change == "sign in":
        scene.changes(user, last_sign_in_at=NOON)
    elif change == "goes softly":
        scene.changes(user, deleted_at=NOON)
        people.remove(user)
    else:
        scene.goes(user)
        people.remove(user)


def truth(scene: Scene) -> Truth:
    rows = scene.conn.execute(
        "SELECT id::text, email, banned_until IS NOT NULL AS b FROM auth.users"
        " WHERE deleted_at IS NULL"
    )
    return {row["id"]: (row["email"], row["b"]) for row in rows}


def state(scene: Scene) -> Truth:
    rows = scene.conn.execute(
        "SELECT i.external_id AS id, u.email, u.blocked_until IS NOT NULL AS b"
        " FROM tenure.users u JOIN tenure.identities i ON i.user_id = u.id"
        " WHERE u.deleted_at IS NULL AND i.provider = 'supabase'"
    )
    return {row["id"]: (row["email"], row["b"]) for row in rows}
