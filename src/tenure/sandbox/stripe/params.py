"""Stripe's form encoding (`a[b][0][c]=x`), read strictly."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import parse_qsl

from tenure.sandbox.stripe.errors import invalid, missing_parameter, unknown_parameter
from tenure.sandbox.stripe.model import Obj

Reader = Callable[[Any, str], Any]
"""Reads one raw value; the second argument is the parameter's full name, for messages."""

Shape = Mapping[str, Any]
"""Parameter name to a Reader, a nested Shape, or a list with one of those in it."""

PART = re.compile(r"\[([^\]]*)\]")


def decode(text: str) -> Obj:
    """Turn a query or form body into nested objects and lists."""
    tree: Obj = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head, _, tail = name.partition("[")
        parts = [head, *PART.findall("[" + tail if tail else "")]
        _plant(tree, parts, value)
    return cast("Obj", _lists(tree))


def _plant(tree: Obj, parts: Sequence[str], value: str) -> None:
    """Put one value at its place in the tree."""
    node = tree
    for part in parts[:-1]:
        below = node.setdefault(part, {})
        if not isinstance(below, dict):
            raise invalid("Invalid hash", parts[0])
        node = cast("Obj", below)
    last = parts[-1] or str(len(node))
    if isinstance(node.get(last), dict):
        raise invalid("Invalid hash", parts[0])
    node[last] = value


def _lists(node: object) -> object:
    """Turn every object whose keys are all numbers into a list."""
    if not isinstance(node, dict):
        return node
    found = {key: _lists(value) for key, value in cast("Obj", node).items()}
    if found and all(key.isdigit() for key in found):
        return [found[key] for key in sorted(found, key=int)]
    return found


def text(raw: object, param: str) -> str | None:
    """Read a string; the empty one means nothing."""
    if not isinstance(raw, str):
        raise invalid("Invalid string", param)
    return raw or None


def whole(raw: object, param: str) -> int | None:
    """Read a whole number."""
    if raw == "":
        return None
    if not isinstance(raw, str) or not re.fullmatch(r"-?\d+", raw):
        raise invalid(f"Invalid integer: {raw}", param, "parameter_invalid_integer")
    return int(raw)


def flag(raw: object, param: str) -> bool | None:
    """Read true or false."""
    if raw == "":
        return None
    if raw not in {"true", "false"}:
        raise invalid(f"Invalid boolean: {raw}", param)
    return raw == "true"


def moment_or(*words: str) -> Reader:
    """Read a UNIX time, or one of `words`."""

    def read(raw: object, param: str) -> int | str | None:
        return raw if isinstance(raw, str) and raw in words else whole(raw, param)

    return read


def one_of(*words: str) -> Reader:
    """Read one of `words`."""

    def read(raw: object, param: str) -> str | None:
        if raw == "":
            return None
        if raw not in words:
            leaf = param.rsplit("[", 1)[-1].rstrip("]")
            allowed = ", ".join(words[:-1]) + (", or " if words[1:] else "") + words[-1]
            raise invalid(f"Invalid {leaf}: must be one of {allowed}", param)
        return cast("str", raw)

    return read


def anything(raw: object, _param: str) -> object:
    """Take a value that the sandbox stores or ignores without reading it."""
    return raw


def metadata(raw: object, param: str) -> Obj:
    """Read metadata: an empty value unsets one key, an empty whole unsets all."""
    if raw == "":
        return {"": ""}
    if not isinstance(raw, dict):
        raise invalid("Invalid hash", param)
    given = cast("Obj", raw)
    for key, value in given.items():
        if not isinstance(value, str):
            raise invalid(f"Metadata values must be strings, but for key {key} it is not", param)
    return given


def merged(current: Obj, given: Obj) -> Obj:
    """Apply given metadata on top of the current."""
    if "" in given:
        return {}
    after = {**current, **given}
    return {key: value for key, value in after.items() if value != ""}


def time_range(raw: object, param: str) -> Obj:
    """Read a `created` filter: one moment or gt, gte, lt, lte."""
    if isinstance(raw, str):
        at = whole(raw, param)
        return {"gte": at, "lte": at}
    shape = {"gt": whole, "gte": whole, "lt": whole, "lte": whole}
    return cast("Obj", _read(raw, shape, param))


def inside(given: Obj, name: str) -> Obj:
    """Give a nested hash, empty when it was not sent."""
    return cast("Obj", given.get(name) or {})


def rows(given: Obj, name: str) -> list[Obj]:
    """Give a nested list of hashes, empty when it was not sent."""
    return cast("list[Obj]", given.get(name) or [])


def words(given: Obj, name: str) -> list[str]:
    """Give a nested list of strings, empty when it was not sent."""
    return cast("list[str]", given.get(name) or [])


PAGE: Shape = {"limit": whole, "starting_after": text, "ending_before": text}
EVERYWHERE: Shape = {"expand": [text]}


def checked(raw: Obj, shape: Shape, need: Sequence[str] = ()) -> Obj:
    """Read every parameter by its shape, refusing what has none.

    Errors: a StripeRefusal that names the parameter.
    """
    read = cast("Obj", _read(raw, {**shape, **EVERYWHERE}, ""))
    for name in need:
        if read.get(name) in (None, [], {}):
            raise missing_parameter(name)
    return read


def _read(raw: object, shape: object, param: str) -> object:
    """Read one value by its shape."""
    if callable(shape):
        return cast("Reader", shape)(raw, param)
    if isinstance(shape, list):
        return _read_list(raw, cast("list[object]", shape)[0], param)
    return _read_object(raw, cast("Shape", shape), param)


def _read_list(raw: object, inner: object, param: str) -> list[object]:
    if raw == "":
        return []
    if not isinstance(raw, list):
        raise invalid("Invalid array", param)
    values = cast("list[object]", raw)
    return [_read(value, inner, f"{param}[{at}]") for at, value in enumerate(values)]


def _read_object(raw: object, shape: Shape, param: str) -> Obj | None:
    if raw == "":
        return None
    if not isinstance(raw, dict):
        raise invalid("Invalid hash", param)
    read: Obj = {}
    for key, value in cast("Obj", raw).items():
        name = f"{param}[{key}]" if param else key
        if key not in shape:
            raise unknown_parameter(name)
        read[key] = _read(value, shape[key], name)
    return read
