"""Logs: a constant name and fields, one line each, no secret in any of them.

`log.info("billing.sync.written", org_id=…, ms=…)`; what is said inside `about(request_id=…)`
carries that too. Lines of libraries come out in the same form.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

log: FilteringBoundLogger = structlog.get_logger()

MASK = "***"
SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:secret|token|authorization|password|cookie|jwt|signature|key)s?(?:$|[_-])",
    re.IGNORECASE,
)
PUBLIC_NAMES = frozenset({"idempotency_key", "lookup_key", "lookup_keys", "publishable_key"})
SECRET_TEXT = re.compile(
    r"""\b(?:sk|rk)_(?:test|live)_\w+
      | \bsk_\w{16,}
      | \bwhsec_[\w+/=-]+
      | \bsb_secret_\w+
      | \beyJ[\w-]+\.[\w-]+\.[\w-]*   # a JWT
      | (?<=\bBearer\s)[^\s"',]+
      | (?<=://)[^\s/:@]+:[^\s/@]+(?=@)  # user and password in an address
      | (?<=\bpassword=)[^\s&"']+
    """,
    re.VERBOSE,
)
QUIET = (
    "httpx",
    "httpcore",
    "stripe",
    "asyncio",
    "procrastinate",
    "uvicorn",
)  # they tell of every call; we tell what it meant

_Event = MutableMapping[str, Any]


def set_up(*, form: str = "json", level: str = "info", stream: TextIO | None = None) -> None:
    """Say once, at the start of a process, how and how much is written.

    `form`: "json" or "text". `stream`: standard error unless told.
    """
    out = stream or sys.stderr
    least = logging.getLevelNamesMapping()[level.upper()]
    shared = _shared()
    structlog.configure(
        processors=[*shared, *_rendered(form, out)],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendered(form, out),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=least, force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def about(**facts: object) -> AbstractContextManager[None]:
    """Attach facts to every line of this task, for as long as the block lasts."""
    return structlog.contextvars.bound_contextvars(**facts)


def named(**facts: object) -> None:
    """Attach facts to every line that this task still writes, to its end."""
    structlog.contextvars.bind_contextvars(**facts)


def request_id() -> str:
    """Return the id that this task's lines carry; empty outside a request."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def masked(value: object, *, name: str = "") -> object:
    """Return a value as it may be written: secrets, by name or by look, become `***`."""
    if _is_number(value):
        return value
    if SECRET_NAME.search(name) and name.lower() not in PUBLIC_NAMES and value:
        return MASK
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {str(key): masked(inner, name=str(key)) for key, inner in pairs}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(inner) for inner in cast("list[object]", value)]
    return SECRET_TEXT.sub(MASK, str(value))


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float)


def _mask(_logger: object, _method: str, event: _Event) -> _Event:
    return {name: masked(value, name=name) for name, value in event.items()}


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]


def _rendered(form: str, out: TextIO) -> list[Processor]:
    if form == "text":
        colors = out.isatty()
        return [
            structlog.processors.format_exc_info,
            _mask,
            structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="at", pad_event_to=32),
        ]
    return [
        structlog.processors.format_exc_info,
        _mask,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
