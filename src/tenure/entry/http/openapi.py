"""The contract of the HTTP door, with the two bare paths and the error shape written in."""

from typing import Any

from tenure.entry.http.rest import make_rest

ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint", "request_id"],
            "properties": {
                "code": {"type": "string", "examples": ["billing.stripe_away"]},
                "message": {"type": "string"},
                "hint": {"type": "string"},
                "request_id": {"type": "string"},
                "fields": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                    },
                },
                "seats": {
                    "type": "object",
                    "description": "Where no seat is free: the figures",
                    "properties": {
                        name: {"type": ["integer", "null"]} for name in ("used", "limit", "invited")
                    },
                },
            },
        },
        "decision": {"type": "object", "description": "Why the gate is closed"},
    },
}
REFUSED = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


def openapi() -> dict[str, Any]:
    """Describe every address, for clients and for the page under docs/reference."""
    found = make_rest().openapi()
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    schemas["Error"] = ERROR
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    for path in found["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            answers.pop("422", None)
            answers["4XX"] = {"description": "The request cannot pass", "content": REFUSED}
            answers["5XX"] = {"description": "Try again", "content": REFUSED}
    for path, described in WEBHOOKS.items():
        found["paths"][path] = {"post": described}
    found["paths"]["/gate/check"] = {"get": _gate(FROM_QUERY)}
    found["paths"]["/gate/for/{needs}"] = {"get": _gate(FROM_PATH)}
    return found


def _webhook(sender: str, *headers: tuple[str, str], unsigned: str = "401") -> dict[str, Any]:
    also = ", or no event" if unsigned == "400" else ""
    return {
        "tags": ["webhooks"],
        "summary": f"Receive {sender}",
        "description": "Keeps a signed event; 200 once it is durable, "
        f"503 when {sender} must send it again.",
        "parameters": [_header(name, example, required=True) for name, example in headers],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
        "responses": {
            "200": {"description": "Kept"},
            "400": {"description": "No event", "content": REFUSED},
            unsigned: {"description": f"Not signed by {sender}{also}", "content": REFUSED},
            "413": {"description": "Too large", "content": REFUSED},
            "503": {"description": "Not kept: send it again", "content": REFUSED},
        },
    }


def _gate(asked: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "tags": ["gate"],
        "summary": "Check the gate",
        "description": "Forward-auth for nginx, Envoy, Traefik and Caddy; explains every answer. "
        "Any method, and below `/gate/for/{needs}` any further path, is answered alike.",
        "parameters": [_header("Authorization", "Bearer eyJ…", required=False), *asked],
        "responses": {
            "200": {"description": "May pass; X-Tenure-User, -Org, -Role and -Reason say who"},
            "401": {"description": "Not signed in", "content": REFUSED},
            "402": {"description": "No subscription that opens it", "content": REFUSED},
            "403": {"description": "Not a member, role or feature missing", "content": REFUSED},
            "503": {"description": "Nobody can decide now", "content": REFUSED},
        },
    }


def _header(name: str, example: str, *, required: bool) -> dict[str, Any]:
    schema = {"type": "string"}
    return {
        "name": name,
        "in": "header",
        "required": required,
        "schema": schema,
        "example": example,
    }


def _asked(name: str, description: str, example: str, where: str = "query") -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "schema": {"type": "string"},
        "description": description,
        "example": example,
    }


SVIX = (
    ("svix-id", "msg_2example"),
    ("svix-timestamp", "1700000000"),
    ("svix-signature", "v1,Zm9v…"),
)
WEBHOOKS = {
    "/webhooks/stripe": _webhook(
        "Stripe", ("Stripe-Signature", "t=1700000000,v1=…"), unsigned="400"
    ),
    "/webhooks/clerk": _webhook("Clerk", *SVIX),
    "/webhooks/workos": _webhook("WorkOS", ("WorkOS-Signature", "t=1700000000000, v1=…")),
}
FROM_QUERY = [
    _asked("role", "One of these roles; may be repeated", "admin"),
    _asked("feature", "All of these features; may be repeated", "reports"),
]
NEEDS = "`subscription=no` leaves the subscription out; `role` (one of them); `feature` (all)"
FROM_PATH = [_asked("needs", NEEDS, "role=admin&feature=reports", "path")]
