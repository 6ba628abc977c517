"""What the people of the story hold in their hands: browsers, tokens, and what they have seen."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from html.parser import HTMLParser
from http import HTTPStatus
from typing import Any

import httpx

from tenure.base.ids import Ids
from tenure.entry.local.errors import NotAsTold
from tenure.entry.local.who import Who

Json = dict[str, Any]
PATIENCE = 10.0  # seconds until what should come must have come
LOOK_AGAIN = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a step has seen: in words, and as facts for programs."""

    text: str
    facts: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(slots=True, kw_only=True)
class Scene:
    """Three doors, and what was learned so far."""

    service: httpx.Client
    stripe: httpx.Client  # pages and control by anybody; `/v1` with the key
    identity: httpx.Client  # the provider's API
    who: Who  # how that is spoken to
    ids: Ids
    check: Callable[[], None]  # raises where the story cannot go on
    return_url: str  # the page of the application that people come back to
    token: str = ""
    user: str = ""  # the provider's ids
    org: str = ""
    colleague: str = ""
    prices: dict[str, str] = field(default_factory=dict[str, str])  # by lookup key
    customer: str = ""
    checkout: str = ""  # the address of the page to pay on
    old_deliveries: frozenset[str] = frozenset()
    paid_at: float = 0.0  # of time.perf_counter
    subscription: Json = field(default_factory=dict[str, Any])

    def gate(self) -> httpx.Response:
        """Ask whether the gate is open."""
        return self.service.get("/gate/check")

    def until(
        self, holds: Callable[[httpx.Response], bool], wanted: str, *, within: float = PATIENCE
    ) -> httpx.Response:
        """Ask the gate again and again until the answer is the wanted one.

        Errors: NotAsTold after `within` seconds.
        """
        deadline = time.monotonic() + within
        while not holds(answer := self.gate()):
            self.check()
            expect(time.monotonic() < deadline, wanted=wanted, came=answer)
            time.sleep(LOOK_AGAIN)
        return answer

    def advance_to(self, moment: int) -> None:
        """Let the time of the pretended Stripe pass."""
        answer = self.stripe.post("/_sandbox/clock/advance", json={"to": moment}, timeout=30.0)
        expect(answer.is_success, wanted=f"the clock at {moment}", came=answer)

    def portal(self) -> str:
        """Open the portal, and give its address."""
        answer = self.service.post("/stripe/portal", json={"return_url": self.return_url})
        expect(answer.status_code == HTTPStatus.CREATED, wanted="201, a portal", came=answer)
        return str(answer.json()["url"])


@contextmanager
def open_scene(
    *,
    service: str,
    stripe: str,
    stripe_key: str,
    identity: str,
    identity_key: str,
    **more: Any,  # noqa: ANN401 (the rest of Scene, which checks it)
) -> Generator[Scene]:
    """Open the three doors for as long as the block lasts."""
    with (
        _client(service) as first,
        _client(stripe, stripe_key) as second,
        _client(identity, identity_key) as third,
    ):
        yield Scene(service=first, stripe=second, identity=third, **more)


def _client(url: str, key: str = "") -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=url, headers=headers, timeout=20.0, trust_env=False)


def expect(holds: bool, *, wanted: str, came: object) -> None:  # noqa: FBT001 (reads as a sentence)
    """Go on only if it holds.

    Errors: NotAsTold, with what was expected and what came.
    """
    if holds:
        return
    said = f"{came.status_code} {came.text[:400]}" if isinstance(came, httpx.Response) else came
    raise NotAsTold(f"expected {wanted}; came {said}")


def bought(answer: httpx.Response) -> Json:
    """Read the subscription that a decision stands on; empty where there is none."""
    facts: Json = decision(answer).get("facts") or {}
    return facts.get("subscription") or {}


def decision(answer: httpx.Response) -> Json:
    """Read the decision in an answer of the gate."""
    return answer.json().get("decision") or {}


def unix(moment: str) -> int:
    """Read a moment as Stripe writes it."""
    return int(datetime.fromisoformat(moment).timestamp())


def date(moment: str) -> str:
    """Write a moment for people."""
    return f"{datetime.fromisoformat(moment):%Y-%m-%d}"


def click(client: httpx.Client, url: str, button: str = "", **chosen: str) -> httpx.Response:
    """Open a page, fill in the form that has the button, and press it, as a browser does."""
    page = client.get(url)
    expect(page.is_success, wanted=f"a page at {url}", came=page)
    reader = _Forms()
    reader.feed(page.text)
    form = next((form for form in reader.forms if button in form.buttons), None)
    if form is None:
        raise NotAsTold(f"expected a button {button!r} at {url}; came {reader.forms}")
    pressed = {form.buttons[button]: button} if form.buttons[button] else {}
    return client.post(url, data={**form.hidden, **chosen, **pressed})


@dataclass(slots=True)
class _Form:
    hidden: dict[str, str] = field(default_factory=dict[str, str])
    buttons: dict[str, str] = field(default_factory=dict[str, str])  # names, by value


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[_Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(_Form())
        elif tag == "input" and given.get("type") == "hidden" and self.forms:
            self.forms[-1].hidden[given["name"]] = given.get("value", "")
        elif tag == "button" and self.forms:
            self.forms[-1].buttons[given.get("value", "")] = given.get("name", "")
