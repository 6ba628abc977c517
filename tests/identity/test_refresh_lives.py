"""Random lives of one session: whatever goes wrong, the row holds the provider's last pair."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from tenure.base.db import Db
from tenure.identity import rotation
from tenure.identity.refresh import Broker, RefreshDelayed
from tests.identity.refresh_scene import Cloud, Scene, a_cloud, a_scene
from tests.journal.builders import until

LIVES = 12
EVENTS = 8
TROUBLES = ["500", "429", "refuse", "done_500", "lost"]


@dataclass
class Dice:
    """Chance that a seed repeats."""

    seed: int
    thrown: int = 0

    def throw(self, sides: int) -> int:
        self.thrown += 1
        digest = hashlib.sha256(f"{self.seed}:{self.thrown}".encode()).digest()
        return int.from_bytes(digest[:4]) % sides


@dataclass
class Life:
    scene: Scene
    dice: Dice
    handle: str
    brokers: list[Broker]
    told: list[str] = field(default_factory=list)

    async def ask(self, many: int) -> None:
        """Several ask at once, of whatever process."""
        askers = [self.brokers[self.dice.throw(len(self.brokers))] for _ in range(many)]
        said = await asyncio.gather(
            *(one.refresh(self.handle) for one in askers), return_exceptions=True
        )
        strange = [one for one in said if isinstance(one, BaseException)]
        assert not [one for one in strange if not isinstance(one, RefreshDelayed)], self.told

    async def stumble(self) -> None:
        """The provider has trouble while they ask."""
        trouble, times = TROUBLES[self.dice.throw(len(TROUBLES))], 1 + self.dice.throw(4)
        self.told.append(f"{trouble} x {times}")
        self.scene.cloud.fail(trouble, count=times)
        await self.ask(1 + self.dice.throw(5))
        self.scene.cloud.heal()

    async def die(self) -> None:
        """A process dies while the provider's answer is on its way, or just before it is asked."""
        place, asked = self.dice.throw(len(self.brokers)), self.scene.cloud.asked()
        victim, turns = self.brokers[place], await self.scene.turns(self.handle)
        trouble = ["lost", "latency"][self.dice.throw(2)]
        self.told.append(f"died, {trouble}")
        self.scene.cloud.fail(trouble, seconds=0.4)
        asking = asyncio.create_task(victim.refresh(self.handle))

        async def is_far_enough() -> bool:
            if asking.done():
                return True  # a pair that had just come was given
            if trouble == "lost":
                return await self.scene.turns(self.handle) > turns
            return self.scene.cloud.asked() > asked

        await until(is_far_enough)
        for flight in (asking, *victim._flights.values()):  # noqa: SLF001 (what a kill does)
            flight.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        self.brokers[place] = self.scene.a_broker()
        self.scene.cloud.heal()

    async def go_on(self) -> None:
        """Time goes by, and those who stand by do what they do every few seconds."""
        for _ in range(3):
            await self.scene.pass_(rotation.GRACE.total_seconds() / 6 + self.dice.throw(3))
            await self.brokers[self.dice.throw(len(self.brokers))].rescue()
        if self.dice.throw(2):
            await self.scene.pass_(self.dice.throw(400))

    async def check(self) -> None:
        """The row holds the one token of the session that is not spent."""
        row = await self.scene.row(self.handle)
        kept = dict(self.scene.cloud.workos.world.state.refresh_tokens)
        unspent = [
            token
            for token, one in kept.items()
            if one["session_id"] == row.external_id and one["answer"] is None
        ]
        assert [hashlib.sha256(token.encode()).digest() for token in unspent] == [row.refresh_hash]
        assert row.ended_why is None


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with a_cloud() as made:
        yield made


@pytest.fixture
async def scene(db: Db, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(rotation, "WAITS", (timedelta(seconds=0.01), timedelta(seconds=0.02)))
    async with a_scene(db, cloud) as made:
        yield made


@pytest.mark.parametrize("seed", range(LIVES))
async def test_no_trouble_and_no_death_costs_a_session_that_somebody_stands_by(
    scene: Scene, seed: int
) -> None:
    """M8: faults, crashes and pauses in any order; the seed replays a life."""
    brokers = [scene.a_broker() for _ in range(3)]
    handle, _ = await brokers[0].begin(scene.cloud.a_code())
    life = Life(scene=scene, dice=Dice(seed), handle=handle, brokers=brokers)
    for _ in range(EVENTS):
        await scene.pass_(31)
        await [life.stumble, life.die, lambda: life.ask(4)][life.dice.throw(3)]()
        await life.go_on()
        await life.check()
    await asyncio.gather(*(one.close() for one in life.brokers))

    await scene.pass_(400)
    assert (await life.brokers[0].refresh(handle)).is_fresh, life.told
