"""The contract: every route, the one error shape, examples; and the page in docs is fresh."""

import json
from pathlib import Path
from typing import Any

import pytest

from tenure.entry.http import hot
from tenure.entry.http.openapi import openapi
from tenure.entry.http.rest import make_rest
from tests.entry.http.house import House

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "openapi.json"
PATHS: dict[str, dict[str, Any]] = openapi()["paths"]
OPERATIONS = [(path, method) for path, found in PATHS.items() for method in found]


def test_every_route_is_described() -> None:
    """T2: the bare paths too."""
    routes = {
        path
        for path, _ in _routes(make_rest())
        if not path.startswith(("/docs", "/redoc", "/open"))
    }

    assert set(PATHS) == routes | set(hot.DOORS) | {"/gate/for/{needs}"}


def _routes(rest: Any) -> set[tuple[str, str]]:
    described = rest.openapi()["paths"]
    return {(path, method) for path, found in described.items() for method in found}


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_route_is_explained_and_can_go_wrong_in_one_shape_only(
    path: str, method: str
) -> None:
    """T5: the error shape is part of the contract."""
    operation = PATHS[path][method]
    refused = {code: a for code, a in operation["responses"].items() if code[0] in "45"}

    assert operation["summary"]
    assert operation["description"]
    assert refused
    for answer in refused.values():
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        assert schema in (None, {}, {"$ref": "#/components/schemas/Error"})


def test_what_is_asked_for_has_examples() -> None:
    """T2: a newcomer can fill in every body from the page."""
    schemas = openapi()["components"]["schemas"]

    assert schemas["Error"]["properties"]["error"]["required"] == [
        "code",
        "message",
        "hint",
        "request_id",
    ]
    for name, field in (
        ("CheckoutIn", "success_url"),
        ("CustomerIn", "email"),
        ("LineIn", "price"),
        ("InviteIn", "email"),
        ("RoleIn", "role"),
    ):
        assert schemas[name]["properties"][field].get("examples"), (name, field)


def test_nothing_of_the_framework_s_error_shape_is_left() -> None:
    assert "ValidationError" not in json.dumps(openapi())


async def test_the_service_tells_its_whole_contract(house: House) -> None:
    answer = await house.http.get("/openapi.json")

    assert answer.json() == json.loads(json.dumps(openapi()))


def test_the_page_in_docs_is_fresh() -> None:
    """T2: run `python scripts/docs.py` when this fails."""
    assert json.loads(PAGE.read_text(encoding="utf-8")) == json.loads(json.dumps(openapi()))
