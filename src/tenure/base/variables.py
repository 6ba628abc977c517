"""What one environment variable may look like: parsers that say what is wrong, and an example."""

import base64
import binascii
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
HOST = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?")

Parser = Callable[[str], Any]  # raises ValueError with words that never repeat the value


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One row of the table that drives parsing, `.env.example` and the reference page."""

    name: str
    parse: Parser
    example: str
    help: str
    group: str
    default: str = ""  # as it would be written; empty: none
    default_is: str = ""  # in words, where the default depends on other variables
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with one variable."""

    name: str
    wrong: str
    example: str = ""

    def __str__(self) -> str:
        tail = f"; for example {self.name}={self.example}" if self.example else ""
        return f"{self.name}: {self.wrong}{tail}"


def setting(
    name: str,
    parse: Parser,
    *,
    unset: object = "",
    default: str = "",
    **columns: Any,  # noqa: ANN401 (the other columns of Variable, which checks them)
) -> Any:  # noqa: ANN401 (as dataclasses.field: the annotation beside it says the type)
    """Make a field that is read from a variable; `unset` is its value where that has no default."""
    variable = Variable(name=name, parse=parse, default=default, **columns)
    return field(default=parse(default) if default else unset, metadata={"variable": variable})


def text(value: str) -> str:
    """Take anything."""
    return value


def pattern(regex: str, wrong: str, **confused: str) -> Parser:
    """Take what matches; `confused` maps a tell-tale beginning to what the value really is."""
    wanted = re.compile(regex)

    def parse(value: str) -> str:
        for beginning, is_really in confused.items():
            if value.startswith(beginning):
                raise ValueError(f"this is {is_really}; {wrong}")
        if not wanted.fullmatch(value):
            raise ValueError(wrong)
        return value

    return parse


def several(one: Parser) -> Parser:
    """Take a comma-separated list."""

    def parse(value: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(one(part.strip()) for part in value.split(",") if part.strip()))

    return parse


def choice(*allowed: str) -> Parser:
    """Take one of a few words."""

    def parse(value: str) -> str:
        if value.lower() not in allowed:
            raise ValueError(f"must be {' or '.join(allowed)}")
        return value.lower()

    return parse


def number(low: float, high: float, *, unit: str = "") -> Parser:
    """Take a number within bounds; fractions are fine."""

    def parse(value: str) -> float:
        try:
            found = float(value)
        except ValueError:
            found = math.nan
        if not low <= found <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}{unit and ' ' + unit}")
        return found

    return parse


def whole(low: int, high: int, *, times: int = 1, unit: str = "") -> Parser:
    """Take a whole number within bounds, and multiply it."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", value) or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}{unit and ' ' + unit}")
        return int(value) * times

    return parse


def span(low: float, high: float, *, unit: str) -> Parser:
    """Take a length of time, written as a number of `unit` (a keyword of timedelta)."""
    parse_number = number(low, high, unit=unit)

    def parse(value: str) -> timedelta:
        return timedelta(**{unit: parse_number(value)})

    return parse


def postgres(value: str) -> str:
    """Take a Postgres URL, or key=value pairs as libpq reads them."""
    if re.match(r"postgres(ql)?\+\w+://", value):
        raise ValueError("names a Python driver (`+…`); write postgresql://")
    if "[YOUR-PASSWORD]" in value:
        raise ValueError("still holds the placeholder [YOUR-PASSWORD]")
    scheme = urlsplit(value).scheme if "://" in value.split("=", maxsplit=1)[0] else ""
    if scheme not in {"", "postgres", "postgresql"}:
        raise ValueError("is not a Postgres address")
    try:
        known = conninfo_to_dict(value)
    except psycopg.ProgrammingError:  # libpq's words may repeat the password
        raise ValueError(
            "cannot be read as a Postgres address; escape @ : / # % in the password as %40 …"
        ) from None
    if not known:
        raise ValueError("is not a Postgres address")
    return value


def issuer(value: str) -> str:
    """Take the name of an issuer: an address, exactly as its tokens say it, slash or no slash."""
    web_address(value)
    return value


def web_address(value: str) -> str:
    """Take an http or https address without query; a final slash is dropped."""
    parts = _split(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an http or https address, without a query")
    if parts.username is not None:
        raise ValueError("must not hold a user or password")
    return value.rstrip("/")


def origin(value: str) -> str:
    """Take a scheme, a host and perhaps a port, as browsers send them in Origin."""
    if value == "*":
        raise ValueError("* would let every site in with its users' credentials; list the origins")
    if not ORIGIN.fullmatch(value.removesuffix("/")) or value.endswith("//"):
        raise ValueError("must be origins: scheme, host and perhaps a port, without a path")
    _split(value)
    return value.removesuffix("/").lower()


def svix_secret(value: str) -> str:
    """Take a Svix signing secret: `whsec_` and base64."""
    try:
        base64.b64decode(value.removeprefix("whsec_"), validate=True)
        good = value.startswith("whsec_") and len(value) > len("whsec_")
    except binascii.Error:
        good = False
    if not good:
        raise ValueError("must be whsec_ and base64, as the endpoint's page shows it")
    return value


def shared_secret(value: str) -> str:
    """Take a secret that HS256 may be trusted with: short ones can be guessed from any token."""
    if len(value.encode()) < 32:  # noqa: PLR2004 (RFC 7518: as long as the hash, 256 bits)
        raise ValueError("must be at least 32 characters long")
    if value.startswith("-----BEGIN"):
        raise ValueError("is a PEM key; the shared secret is a line of text")
    return value


def cipher_key(value: str) -> str:
    """Take a Fernet key: 32 random bytes in the URL-safe form of base64."""
    try:
        found = base64.b64decode(value, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != 32:  # noqa: PLR2004 (Fernet: 16 bytes to sign with, 16 to encrypt with)
        raise ValueError("must be 32 bytes in URL-safe base64: 44 characters")
    return value


def publishable_key(value: str) -> str:
    """Take a Clerk publishable key."""
    frontend(value)
    return value


def frontend(key: str) -> str:
    """Read the address of Clerk's Frontend API out of a publishable key.

    A loopback host is the sandbox, which speaks plain http; Clerk always speaks https.
    """
    wrong = "must be pk_test_ or pk_live_ and base64, as Clerk's page of API keys shows it"
    match = re.fullmatch(r"pk_(?:test|live)_(?P<encoded>[A-Za-z0-9+/=_-]+)", key)
    if match is None:
        raise ValueError(wrong)
    encoded = match["encoded"].rstrip("=")
    try:
        host = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode("ascii")
    except (binascii.Error, UnicodeError):
        raise ValueError(wrong) from None
    if not host.endswith("$") or not HOST.fullmatch(host[:-1]):
        raise ValueError(wrong)
    scheme = "http" if is_loopback(f"//{host[:-1]}") else "https"
    return f"{scheme}://{host[:-1]}"


def supabase_key(role: str, prefix: str) -> Parser:
    """Take a Supabase API key of one role: the newer `sb_…`, or the older token."""

    def parse(value: str) -> str:
        if value.startswith(prefix):
            return value
        if (found := _role_of(value)) is None:
            raise ValueError(f"must be a {prefix}… key, or the older token that begins with eyJ")
        if found != role:
            raise ValueError(f"this is the key of role {found}; the key of {role} belongs here")
        return value

    return parse


def is_loopback(url: str) -> bool:
    """Say whether an address never leaves this machine."""
    return urlsplit(url).hostname in LOOPBACK


def _role_of(token: str) -> str | None:
    payload = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004 (header, payload, signature)
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError):
        return None
    if not isinstance(claims, dict):
        return None
    return str(cast("dict[str, object]", claims).get("role", "nobody"))


def _split(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        good = parts.port is None or parts.port > 0
    except ValueError:  # its words may repeat the value
        raise ValueError("is not an address") from None
    if not good:
        raise ValueError("has a port outside 1 to 65535")
    return parts
