import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tenure.base.ids import CountedIds
from tenure.entry.local.errors import Died, NotAsTold
from tenure.entry.local.scene import Scene, Seen, click, expect, open_scene
from tenure.entry.local.story import tell
from tenure.entry.local.who import KNOWN

PAGE = b"""<form method="post"><input type="hidden" name="subscription" value="sub_1">
<button name="do" value="cancel">Cancel</button></form>
<form method="post"><input type="hidden" name="invoice" value="in_1">
<button name="do" value="pay">Pay now</button></form>"""


class Pages(BaseHTTPRequestHandler):
    """A page with two forms, which says what it was sent; another path is missing."""

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/page" else 404, PAGE)

    def do_POST(self) -> None:
        self._answer(200, self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def all_is_well() -> None:
    """See nothing wrong."""


@pytest.fixture
def scene(site: str) -> Iterator[Scene]:
    with open_scene(
        service=site,
        stripe=site,
        stripe_key="",
        identity=site,
        identity_key="",
        who=KNOWN["clerk"],
        ids=CountedIds(),
        check=all_is_well,
        return_url="http://localhost:3000/welcome",
    ) as opened:
        yield opened


def sees(scene: Scene) -> Seen:
    return Seen(text="seen", facts={"path": str(scene.service.base_url)})


def sees_else(_: Scene) -> Seen:
    raise NotAsTold("expected one; came two")


def meets_nobody(_: Scene) -> Seen:
    raise httpx.ConnectError("refused")


def told(scene: Scene, *steps) -> list[tuple[str, bool, str]]:
    begun: list[str] = []
    named = [(step.__name__, step) for step in steps]
    return [(one.name, one.ok, one.seen.text) for one in tell(scene, begun.append, named)]


def test_after_a_step_that_does_not_hold_none_is_begun(scene: Scene) -> None:
    assert told(scene, sees, sees_else, sees) == [
        ("sees", True, "seen"),
        ("sees_else", False, "expected one; came two"),
        ("sees", False, "not reached"),
    ]


def test_no_answer_is_a_step_that_does_not_hold(scene: Scene) -> None:
    (one,) = told(scene, meets_nobody)
    assert one == ("meets_nobody", False, "expected an answer; came ConnectError: refused")


def test_a_process_that_died_is_no_fault_of_the_story(scene: Scene) -> None:
    def died() -> None:
        raise Died("work ended by itself")

    scene.check = died
    with pytest.raises(Died):
        told(scene, meets_nobody)


def test_what_came_is_quoted_beside_what_was_expected(scene: Scene) -> None:
    answer = scene.service.get("/page")
    with pytest.raises(NotAsTold, match="expected 402; came 200 <form"):
        expect(holds=False, wanted="402", came=answer)
    expect(holds=True, wanted="200", came=answer)


def test_a_button_sends_its_own_form_and_no_other(scene: Scene) -> None:
    sent = click(scene.stripe, "/page", "pay", card="works")
    assert sorted(sent.text.split("&")) == ["card=works", "do=pay", "invoice=in_1"]


def test_a_button_or_page_that_is_not_there_does_not_hold(scene: Scene) -> None:
    with pytest.raises(NotAsTold, match="button 'resume'"):
        click(scene.stripe, "/page", "resume")
    with pytest.raises(NotAsTold, match="a page at /else"):
        click(scene.stripe, "/else", "pay")
