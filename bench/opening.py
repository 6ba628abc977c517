"""From the payment to an open gate, through the public doors."""

import time
from collections.abc import Iterator
from http import HTTPStatus

from bench.result import Result, middle, spread
from bench.town import Town
from tenure.base.ids import RandomIds
from tenure.entry.local import buying
from tenure.entry.local.scene import Scene, click
from tenure.entry.local.telling import scene_on

ROUNDS = 15
SETTLED = 1.0  # seconds: nobody pays within a second of opening the page


def measure(town: Town) -> Iterator[Result]:
    """Let people pay, one after the other, and wait for each one's gate."""
    town.wake_worker()
    took: list[float] = []
    for _ in range(ROUNDS):
        with scene_on(town.machine, RandomIds()) as scene:
            took.append(_once(scene))
    yield Result(
        name="payment to open gate, p50",
        value=middle(took),
        unit="ms",
        spread=spread(took),
    )


def _once(scene: Scene) -> float:
    buying.sign_up(scene)
    buying.read_prices(scene)
    order = {
        "lines": [{"price": scene.prices[buying.PLAN]}],
        "success_url": scene.return_url,
    }
    page = scene.service.post("/stripe/checkout", json=order).raise_for_status().json()["url"]
    scene.until(lambda answer: answer.status_code == HTTPStatus.PAYMENT_REQUIRED, "a closed gate")
    time.sleep(SETTLED)
    began = time.perf_counter()
    click(scene.stripe, page, card="works")
    scene.until(lambda answer: answer.is_success, "an open gate")
    return (time.perf_counter() - began) * 1000
