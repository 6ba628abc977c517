"""Whatever is lost, doubled, reordered, delayed, tied or crashed, our rows end as the provider is.

TENURE_WORLD_LIVES says how many lives, TENURE_WORLD_SEED where they begin. A life that fails
prints its seed; `TENURE_WORLD_SEED=<seed> TENURE_WORLD_LIVES=1` lives it again.
"""

import os
import random  # noqa: TID251 (every choice comes from a seed that is printed)
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from tenure.base import http
from tenure.base.clock import StoppedClock
from tenure.base.ids import CountedIds
from tenure.identity.act import Policy

from .clerk_acts import a_clerk
from .desk import Desk, a_desk
from .life import Life
from .provider import Provider
from .verdict import differences, rejoined_at_once, standing
from .workos_acts import a_workos

LIVES = int(os.environ.get("TENURE_WORLD_LIVES", "1000"))
SEED = int(os.environ.get("TENURE_WORLD_SEED") or secrets.randbelow(1_000_000))
BATCH = 20  # lives in one database, one after the other
START = datetime(2040, 1, 1, tzinfo=UTC)  # Postgres's own clock stays behind
PROVIDERS: list[Callable[..., AbstractAsyncContextManager[Provider]]] = [a_clerk, a_workos]


async def live(desk: Desk, seed: int) -> list[str]:
    """Live one life; give what is wrong at its end, with its diary."""
    chance = random.Random(seed)  # noqa: S311 (chance, not secrecy)
    open_provider, clock = chance.choice(PROVIDERS), StoppedClock(START)
    key = chance.random() < 0.7
    times: Sequence[int] = chance.choice([[1], [1, 1, 2], *([[0, 1, 1, 2], [0, 0, 0, 1]] * key)])
    policy = Policy(over_limit="deactivate" if key and chance.random() < 0.3 else "tolerate")
    await desk.wipe()
    async with open_provider(seed, key=key, clock=clock, chance=chance) as provider:
        life = Life(
            provider=provider,
            chance=chance,
            desk=desk,
            clock=clock,
            ids=CountedIds(seed),
            policy=policy,
            times=times,
        )
        title = f"{provider.name} key={key} times={times} {policy.over_limit}"
        try:
            await life.live()
            await life.rest()
            wrong = await differences(desk, provider, heard=life.heard)
            if not key:
                wrong += await hear_again(life)
        except BaseException:
            print(f"TENURE_WORLD_SEED={seed} {title}", *life.diary, sep="\n")  # noqa: T201 (how to repeat it)
            raise
    return [f"TENURE_WORLD_SEED={seed} {title}", *life.diary, *wrong] if wrong else []


async def hear_again(life: Life) -> list[str]:
    """Without a key: tell it all once more in another order, and it must come to the same."""
    before, unclear = await standing(life.desk), rejoined_at_once(life.provider)
    await life.desk.wipe()
    life.mail = list(life.provider.knocks())
    while life.mail:
        await life.deliver()
        await life.work_all()
    after = await standing(life.desk)
    names = sorted(before.keys() | after.keys() - unclear)
    return [
        f"{name}: first {before.get(name)}, in another order {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name) and name not in unclear
    ]


@pytest.mark.parametrize("batch", range((LIVES + BATCH - 1) // BATCH))
async def test_rows_history_and_seats_end_as_the_provider_is(
    url: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M6, M7, M8, A5: convergence, whatever becomes of the knocks and the workers."""
    monkeypatch.setattr(http, "FIRST_WAIT", 0.0)  # a second try need not wait here
    with capture_logs():
        async with a_desk(url) as desk:
            for life in range(batch * BATCH, min(LIVES, (batch + 1) * BATCH)):
                wrong = await live(desk, SEED + life)
                if wrong:
                    pytest.fail("\n".join(wrong), pytrace=False)
