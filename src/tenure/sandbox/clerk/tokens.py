"""What a session token of Clerk says, in both versions."""

from typing import Any

from tenure.sandbox.clerk.shelf import Json
from tenure.sandbox.clerk.world import World, pair

LIFETIME = 60  # seconds, Clerk's default
SKEW = 10  # seconds: `nbf` lies this far before `iat`


def session_claims(
    world: World, session: Json, *, version: int = 2, lifetime: int = LIFETIME
) -> Json:
    """Write the claims for a session as it is now."""
    now = int(world.clock.now().timestamp())
    claims: Json = {
        "azp": world.origin,
        "exp": now + lifetime,
        "fva": [0, -1],
        "iat": now,
        "iss": world.url,
        "nbf": now - SKEW,
        "sid": session["id"],
        "sub": session["user_id"],
        **({"act": session["actor"]} if session["actor"] else {}),
    }
    membership = _active_membership(world, session)
    if version == 1:
        return claims | (_flat(world, membership) if membership else {})
    nested = _nested(world, membership) if membership else {"pla": "u:free"}
    return claims | {"jti": world.ids.token("", 20), "sts": session["status"], "v": 2} | nested


def _active_membership(world: World, session: Json) -> Json | None:
    org_id, user_id = session["last_active_organization_id"], session["user_id"]
    return world.memberships.one("pair", pair(org_id, user_id)) if org_id else None


def _flat(world: World, membership: Json) -> Json:
    """Version 1: flat, and with the role's `org:` prefix."""
    granted = world.features.get(membership["role"], {})
    return {
        "org_id": membership["org_id"],
        "org_slug": world.organizations[membership["org_id"]]["slug"],
        "org_role": membership["role"],
        "org_permissions": [f"org:{f}:{p}" for f, names in granted.items() for p in names],
    }


def _nested(world: World, membership: Json) -> Json:
    """Version 2: nested, without the prefix, permissions as one bit mask per feature."""
    granted = world.features.get(membership["role"], {})
    names = list(dict.fromkeys(name for held in granted.values() for name in held))
    org: dict[str, Any] = {
        "id": membership["org_id"],
        "rol": membership["role"].removeprefix("org:"),
        "slg": world.organizations[membership["org_id"]]["slug"],
    }
    if names:
        masks = (sum(1 << names.index(name) for name in held) for held in granted.values())
        org |= {"per": ",".join(names), "fpm": ",".join(map(str, masks))}
    return {"pla": "o:free", "o": org, "fea": ",".join(f"o:{feature}" for feature in granted)}
