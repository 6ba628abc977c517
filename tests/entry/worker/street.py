"""A service and workers as real processes, beside a pretended Stripe and Clerk."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import stripe as sdk

from tenure.base.clock import StoppedClock, SystemClock
from tenure.base.db import Db, open_pool
from tenure.base.ids import RandomIds
from tenure.sandbox.clerk.app import Running, running_clerk
from tenure.sandbox.postgres import free_port
from tenure.sandbox.stripe.running import Box, running_stripe
from tenure.sandbox.stripe.signing import signature
from tests.billing.shop import Shop, merchant_of, stripe_of
from tests.identity.clerk_scene import Scene

SECRET = "whsec_test"
TENURE = Path(sys.executable).with_name("tenure")


@dataclass(kw_only=True)
class Street:
    """Starts processes, and ends every one of them, whatever a test did to them."""

    folder: Path
    database: str
    box: Box
    scene: Scene
    port: int
    extra: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def service(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, command: str, **extra: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{command}.{len(self.started)}.log").open("wb")
        with log:
            process = subprocess.Popen(  # noqa: S603 (our own command)
                [str(TENURE), command],
                env=self._environ() | self.extra | extra,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a server and its children are ended together
            )
        self.started.append(process)
        return process

    async def serve(self, **extra: str) -> subprocess.Popen[bytes]:
        process = self.start("serve", **extra)
        await until(lambda: self._is_ready(process), within=30)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill it and its children without a word."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self.logs()
        try:
            return httpx.get(f"{self.service}/ready", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    def _environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "DATABASE_URL": self.database,
            "STRIPE_SECRET_KEY": self.box.secret_key,
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "STRIPE_API_BASE": self.box.url,
            "CLERK_ISSUER": self.scene.clerk.url,
            "CORS_ORIGINS": "http://localhost:3000",
            "TENURE_PORT": str(self.port),
            "TENURE_STRIPE_RATE": "500",
            "TENURE_LEASE_SECONDS": "3",
            "TENURE_PAUSE_MS": "50",
            "TENURE_LOG_FORMAT": "json",
        }


@contextmanager
def a_street(folder: Path, database: str, box: Box, clerk: Running, port: int) -> Iterator[Street]:
    headers = {"authorization": f"Bearer {clerk.secret_key}"}
    with httpx.Client(base_url=clerk.url, headers=headers) as api:
        scene = Scene(clerk=clerk, clock=StoppedClock(SystemClock().now()), api=api)
        street = Street(folder=folder, database=database, box=box, scene=scene, port=port)
        try:
            yield street
        finally:
            for process in street.started:
                street.end(process)


@contextmanager
def sandboxes() -> Iterator[tuple[Box, Running, int]]:
    """Run a Stripe that sends its events to the service's door, and a Clerk."""
    port = free_port()
    hook = f"http://127.0.0.1:{port}/webhooks/stripe"
    with (
        running_stripe(seed=True, webhook_url=hook, webhook_secret=SECRET) as box,
        running_clerk() as clerk,
    ):
        yield box, clerk, port


@asynccontextmanager
async def a_shop(database: str, box: Box) -> AsyncIterator[Shop]:
    """Look from this process at the same database and the same Stripe."""
    stripe = stripe_of(box)
    async with open_pool(database, size=4, timeout=20.0) as pool:
        yield Shop(
            box=box,
            merchant=merchant_of(box),
            db=Db(pool),
            stripe=stripe,
            clock=SystemClock(),
            ids=RandomIds(),
        )
    await stripe.close()


def event(number: int, customer: str = "cus_nobody") -> tuple[bytes, dict[str, str]]:
    """Write and sign an event, as Stripe does now."""
    raw = json.dumps(
        {
            "id": f"evt_{number}",
            "object": "event",
            "type": "customer.updated",
            "created": int(time.time()),
            "livemode": False,
            "data": {"object": {"id": customer, "object": "customer"}},
        }
    ).encode()
    return raw, {"stripe-signature": signature(raw, [SECRET], int(time.time()))}


async def in_thread(call: Any, *given: Any, **more: Any) -> Any:
    """Wait for something that blocks, away from the loop."""
    return await asyncio.to_thread(call, *given, **more)


async def until(holds: Any, *, within: float = 30.0) -> None:
    """Ask again and again; fail when it takes too long. `holds` may block or be awaited."""
    ends = time.monotonic() + within
    while True:
        found = holds() if asyncio.iscoroutinefunction(holds) else in_thread(holds)
        if await found:
            return
        assert time.monotonic() < ends, f"did not come true within {within} s"
        await asyncio.sleep(0.05)


def change(shop: Shop, subscription: sdk.Subscription, quantity: int) -> None:
    """Change at Stripe how many are bought."""
    item = subscription["items"].data[0].id
    shop.merchant.v1.subscription_items.update(item, {"quantity": quantity})
