"""The story: one life of a customer, through public doors only, step by step."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import httpx

from tenure.entry.local import buying, joining, keeping
from tenure.entry.local.errors import NotAsTold
from tenure.entry.local.scene import Scene, Seen
from tenure.entry.local.who import Who

Step = Callable[[Scene], Seen]

STEPS: tuple[tuple[str, Step], ...] = (
    ("a user signs up and founds an organization", buying.sign_up),
    ("a colleague joins: webhooks bring him", joining.bring_colleague),
    ("he is removed: his token counts no more", joining.remove_colleague),
    ("what can be bought: GET /stripe/products", buying.read_products),
    ("what it costs: GET /stripe/prices", buying.read_prices),
    ("the gate is closed", buying.find_gate_closed),
    ("POST /stripe/customer, many times at once", buying.ask_for_customer),
    ("POST /stripe/checkout", buying.open_checkout),
    ("the hosted page is paid", buying.pay),
    ("the gate opens", buying.find_gate_open),
    ("signed webhooks, doubled, late, out of order", buying.count_webhooks),
    ("a renewal fails", keeping.fail_renewal),
    ("it is paid again", keeping.pay_again),
    ("canceled at the end of the period", keeping.cancel),
    ("the period ends", keeping.end),
    ("the audit log reads like this story", keeping.read_audit),
)
# Without organizations nobody joins, and a user's own log is for her alone.
ALONE: tuple[tuple[str, Step], ...] = (
    ("a user signs up", buying.sign_up),
    ("her row comes with her sign-up", joining.find_herself),
    *(step for step in STEPS if step[1] not in {buying.sign_up, *joining.TOGETHER}),
)


def steps_of(who: Who) -> tuple[tuple[str, Step], ...]:
    """Choose the story that can be told with a provider."""
    return STEPS if who.has_organizations else ALONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One step as it went."""

    name: str
    state: Literal["held", "failed", "not reached"]
    ms: float
    seen: Seen

    @property
    def ok(self) -> bool:
        """Whether the step went as it is told."""
        return self.state == "held"

    def as_json(self) -> dict[str, object]:
        """Write it for programs."""
        facts = dict(self.seen.facts)
        return {
            "name": self.name,
            "ok": self.ok,
            "ms": self.ms,
            "seen": self.seen.text,
            "facts": facts,
        }


def tell(
    scene: Scene, begins: Callable[[str], None], steps: Iterable[tuple[str, Step]]
) -> Iterator[Told]:
    """Go through every step, and say of each what was seen; after a failure none is begun.

    Errors: whatever `scene.check` raises, because then the story is not to blame.
    """
    broken = False
    for name, step in steps:
        if broken:
            yield Told(name=name, state="not reached", ms=0.0, seen=Seen(text="not reached"))
            continue
        scene.check()
        begins(name)
        told = _told(scene, name, step)
        if not told.ok:
            scene.check()
            broken = True
        yield told


def _told(scene: Scene, name: str, step: Step) -> Told:
    started = time.perf_counter()
    try:
        seen, held = step(scene), True
    except NotAsTold as exc:
        seen, held = Seen(text=str(exc)), False
    except (httpx.HTTPError, KeyError, ValueError, TypeError) as exc:  # no answer, or a strange one
        seen, held = Seen(text=f"expected an answer; came {type(exc).__name__}: {exc}"), False
    ms = round((time.perf_counter() - started) * 1000, 1)
    return Told(name=name, state="held" if held else "failed", ms=ms, seen=seen)
