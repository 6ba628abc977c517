"""WorkOS's objects in WorkOS's JSON shapes, as SDK 10.7.0's models need them."""

from collections.abc import Sequence
from typing import cast

from tenure.sandbox.workos.state import Json
from tenure.sandbox.workos.table import Row
from tenure.sandbox.workos.world import World, iso

DAY_MS = 86_400_000
INVITATION_DAYS = 7


def shown(row: Row) -> Json:
    """Leave out what is ours."""
    return {name: value for name, value in row.items() if name[0] != "_"}


def user(world: World, given: Json) -> Row:
    """Make a user; the e-mail address is the only thing that must be given."""
    now = world.now()
    names = ("first_name", "last_name", "name", "external_id", "locale")
    return {
        "object": "user",
        "id": world.new_id("user_"),
        "email": given["email"],
        "email_verified": bool(given.get("email_verified", False)),
        **{name: given.get(name) for name in names},
        "profile_picture_url": None,
        "last_sign_in_at": None,
        "metadata": given.get("metadata") or {},
        "created_at": now,
        "updated_at": now,
    }


def organization(world: World, given: Json) -> Row:
    """Make an organization; the name is the only thing that must be given."""
    now, org_id = world.now(), world.new_id("org_")
    return {
        "object": "organization",
        "id": org_id,
        "name": given["name"],
        "domains": domains(world, org_id, given),
        "metadata": given.get("metadata") or {},
        "external_id": given.get("external_id"),
        "stripe_customer_id": given.get("stripe_customer_id"),
        "allow_profiles_outside_organization": bool(
            given.get("allow_profiles_outside_organization", False)
        ),
        "created_at": now,
        "updated_at": now,
    }


def domains(world: World, org_id: str, given: Json) -> list[Json]:
    """Make the domains of an organization."""
    now = world.now()
    names = cast("list[str]", given.get("domains") or [])
    wanted = cast("list[dict[str, str]]", given.get("domain_data") or [])
    wanted = wanted or [{"domain": name, "state": "verified"} for name in names]
    return [
        {
            "object": "organization_domain",
            "id": world.new_id("org_domain_"),
            "organization_id": org_id,
            "domain": one["domain"],
            "state": one.get("state", "pending"),
            "verification_strategy": "manual",
            "created_at": now,
            "updated_at": now,
        }
        for one in wanted
    ]


def membership(
    world: World,
    org_id: str,
    user_id: str,
    roles: Sequence[str],
    *,
    status: str = "active",
    directory_managed: bool = False,
) -> Row:
    """Make a membership as it is kept and as events show it."""
    now = world.now()
    return {
        "object": "organization_membership",
        "id": world.new_id("om_"),
        "user_id": user_id,
        "organization_id": org_id,
        "status": status,
        "directory_managed": directory_managed,
        **in_roles(roles),
        "custom_attributes": {},
        "created_at": now,
        "updated_at": now,
    }


def in_roles(roles: Sequence[str]) -> Json:
    """Write the roles of a membership: the first one counts where there can be only one."""
    return {"role": {"slug": roles[0]}, "roles": [{"slug": slug} for slug in roles]}


def full_membership(world: World, row: Row) -> Json:
    """Show a membership as the API does: events have neither of the two additions."""
    return row | {
        "organization_name": world.organizations.rows[row["organization_id"]]["name"],
        "user": shown(world.users.rows[row["user_id"]]),
    }


def invitation(world: World, given: Json) -> Row:
    """Make an invitation."""
    ms, token = world.now_ms(), world.ids.token("", 25)
    days = given.get("expires_in_days", INVITATION_DAYS)
    return {
        "object": "invitation",
        "id": world.new_id("invitation_"),
        "email": given["email"],
        "state": "pending",
        "accepted_at": None,
        "revoked_at": None,
        "expires_at": iso(ms + days * DAY_MS),
        "organization_id": given.get("organization_id"),
        "inviter_user_id": given.get("inviter_user_id"),
        "accepted_user_id": None,
        "role_slug": given.get("role_slug"),
        "created_at": iso(ms),
        "updated_at": iso(ms),
        **invitation_token(world, token),
    }


def invitation_token(world: World, token: str) -> Json:
    """Write where an invitation is accepted; events show neither."""
    return {"token": token, "accept_invitation_url": f"{world.url}/invite?token={token}"}


def session(world: World, user_id: str, org_id: str | None, given: Json) -> Row:
    """Make a session; `org_id` is the organization that it is for."""
    ms = world.now_ms()
    impersonator = given.get("impersonator")
    return {
        "object": "session",
        "id": world.new_id("session_"),
        "user_id": user_id,
        "organization_id": org_id,
        "ip_address": given.get("ip_address"),
        "user_agent": given.get("user_agent"),
        "auth_method": given.get("auth_method", "oauth"),
        "status": "active",
        "expires_at": iso(ms + round(world.policy.session_lifetime * 1000)),
        "ended_at": None,
        "created_at": iso(ms),
        "updated_at": iso(ms),
        **({"impersonator": impersonator} if impersonator else {}),
    }
