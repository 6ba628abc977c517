import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tenure.base import log as our_log
from tenure.base.log import about, log, masked, request_id


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    our_log.set_up(form="json", level="info", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers, root.level = before


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_its_fields(written: io.StringIO) -> None:
    log.info("billing.sync.written", org_id="o1", ms=3)
    (line,) = lines(written)
    assert line.pop("at")
    assert line == {"event": "billing.sync.written", "org_id": "o1", "ms": 3, "level": "info"}


def test_less_important_events_are_left_out(written: io.StringIO) -> None:
    log.debug("gate.check.decided")
    logging.getLogger("a.library").debug("chatter")
    assert lines(written) == []


def test_lines_inside_about_carry_its_facts(written: io.StringIO) -> None:
    with about(request_id="r1"):
        assert request_id() == "r1"
        log.info("http.request.answered")
    log.info("http.server.stopped")
    assert [line.get("request_id") for line in lines(written)] == ["r1", None]
    assert request_id() == ""


def test_lines_of_libraries_have_the_same_form(written: io.StringIO) -> None:
    logging.getLogger("a.library").warning("met %s", "whsec_abc")
    (line,) = lines(written)
    assert (line["event"], line["level"]) == ("met ***", "warning")


def test_an_exception_is_told_without_its_secrets(written: io.StringIO) -> None:
    try:
        int("bad key sk_test_hunter2")
    except ValueError:
        log.exception("http.request.broke")
    (line,) = lines(written)
    assert "bad key ***" in str(line["exception"])


@pytest.mark.parametrize(
    "name",
    ["token", "stripe_secret", "Authorization", "api_key", "password", "webhook_secrets", "cookie"],
)
def test_fields_named_like_secrets_are_masked(name: str) -> None:
    assert masked({name: "plain"}) == {name: "***"}
    assert masked({"inner": [{name: ["plain"]}]}) == {"inner": [{name: "***"}]}


@pytest.mark.parametrize(
    "text",
    [
        "sk_test_hunter2",
        "rk_live_hunter2",
        "whsec_aGVsbG8hunter2=",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJodW50ZXIyIn0.hunter2",
        "Authorization: Bearer hunter2",
        "postgresql://app:hunter2@127.0.0.1/app",
        "host=db password=hunter2 user=app",
        "sb_secret_hunter2",
    ],
)
def test_text_that_looks_like_a_secret_is_masked_wherever_it_stands(text: str) -> None:
    for value in (f"so: {text} there", {"why": text}, [text], ValueError(text)):
        assert "hunter2" not in str(masked(value))


def test_what_is_no_secret_stays_readable() -> None:
    fields = {"tokens": 3, "idempotency_key": "k1", "url": "http://127.0.0.1:8000/x", "none": None}
    assert masked(fields) == fields
    assert masked({"body": b"12345"}) == {"body": "<5 bytes>"}


def test_text_is_for_reading(written: io.StringIO) -> None:
    our_log.set_up(form="text", stream=written)
    log.info("billing.sync.written", org_id="o1", token="hunter2")
    assert "billing.sync.written" in written.getvalue()
    assert "org_id=o1" in written.getvalue()
    assert "hunter2" not in written.getvalue()
