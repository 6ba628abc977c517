"""Clerk's objects in Clerk's JSON shapes; times are in milliseconds."""

from collections.abc import Iterable

from tenure.sandbox.clerk.shelf import Json
from tenure.sandbox.clerk.world import World

IMAGE = "https://img.example.com/default.png"
DAY_MS = 24 * 3600 * 1000
SEVEN_DAYS_MS = 7 * DAY_MS
PERMISSIONS = {
    "org:admin": [
        "org:sys_profile:manage",
        "org:sys_profile:delete",
        "org:sys_memberships:read",
        "org:sys_memberships:manage",
        "org:sys_domains:read",
        "org:sys_domains:manage",
    ],
    "org:member": ["org:sys_memberships:read"],
}
ROLE_NAMES = {"org:admin": "Admin", "org:member": "Member"}


def user(world: World, given: Json) -> Json:
    """Make a user out of what `POST /v1/users` was given."""
    now = world.now_ms()
    emails = [email_address(world, address) for address in given.get("email_address", [])]
    chosen = ("first_name", "last_name", "username", "external_id", "locale")
    metadata = ("public_metadata", "private_metadata", "unsafe_metadata")
    lists = ("phone_numbers", "web3_wallets", "passkeys", "external_accounts")
    return {
        "id": world.ids.token("user_", 27),
        "object": "user",
        **{name: given.get(name) for name in chosen},
        **{name: given.get(name) or {} for name in metadata},
        **{name: [] for name in (*lists, "saml_accounts", "enterprise_accounts")},
        "primary_email_address_id": emails[0]["id"] if emails else None,
        "primary_phone_number_id": None,
        "primary_web3_wallet_id": None,
        "email_addresses": emails,
        "image_url": IMAGE,
        "profile_image_url": IMAGE,
        "has_image": False,
        "password_enabled": "password" in given,
        "two_factor_enabled": False,
        "totp_enabled": False,
        "backup_code_enabled": False,
        "mfa_enabled_at": None,
        "mfa_disabled_at": None,
        "banned": False,
        "locked": False,
        "lockout_expires_in_seconds": None,
        "verification_attempts_remaining": 100,
        "delete_self_enabled": True,
        "create_organization_enabled": True,
        "last_sign_in_at": None,
        "last_active_at": None,
        "legal_accepted_at": None,
        "created_at": now,
        "updated_at": now,
    }


def email_address(world: World, address: str) -> Json:
    """Make a verified e-mail address, as those are that the Backend API adds."""
    now = world.now_ms()
    return {
        "id": world.ids.token("idn_", 27),
        "object": "email_address",
        "email_address": address,
        "reserved": False,
        "verification": {
            "object": "verification_admin",
            "status": "verified",
            "strategy": "admin",
            "attempts": None,
            "expire_at": None,
        },
        "linked_to": [],
        "matches_sso_connection": False,
        "created_at": now,
        "updated_at": now,
    }


def organization(world: World, given: Json) -> Json:
    """Make an organization out of what `POST /v1/organizations` was given."""
    now = world.now_ms()
    org_id = world.ids.token("org_", 27)
    slug = "-".join("".join(c if c.isalnum() else " " for c in given["name"].lower()).split())
    return {
        "object": "organization",
        "id": org_id,
        "name": given["name"],
        "slug": given.get("slug") or f"{slug}-{org_id[-6:].lower()}",
        "image_url": IMAGE,
        "has_image": False,
        "max_allowed_memberships": given.get("max_allowed_memberships", 5),
        "admin_delete_enabled": True,
        "public_metadata": given.get("public_metadata") or {},
        "private_metadata": given.get("private_metadata") or {},
        "created_by": given.get("created_by"),
        "created_at": now,
        "updated_at": now,
    }


def membership(
    world: World, org_id: str, user_id: str, role: str, metadata: Json | None = None
) -> Json:
    """Make a membership as it is kept; `membership_shape` shows it."""
    now = world.now_ms()
    return {
        "id": world.ids.token("orgmem_", 27),
        "org_id": org_id,
        "user_id": user_id,
        "role": role,
        "public_metadata": {},
        "private_metadata": {},
        "created_at": now,
        "updated_at": now,
        **(metadata or {}),
    }


def invitation(world: World, org_id: str, given: Json) -> Json:
    """Make an invitation out of what `POST /v1/organizations/{id}/invitations` was given."""
    now = world.now_ms()
    inviter = given.get("inviter_user_id")
    role = given["role"]
    return {
        "object": "organization_invitation",
        "id": world.ids.token("orginv_", 27),
        "email_address": given["email_address"],
        "role": role,
        "role_name": role_name(role),
        "organization_id": org_id,
        "inviter_id": inviter,
        "public_inviter_data": _inviter(world.users[inviter]) if inviter else None,
        "status": "pending",
        "public_metadata": given.get("public_metadata") or {},
        "private_metadata": given.get("private_metadata") or {},
        "url": None,
        "expires_at": now + (given.get("expires_in_days") or 30) * DAY_MS,
        "created_at": now,
        "updated_at": now,
    }


def invitation_shape(world: World, invited: Json) -> Json:
    """Show an invitation with its organization, as the invited person sees it."""
    org = world.organizations[invited["organization_id"]]
    names = ("id", "name", "slug", "image_url", "has_image")
    return invited | {"public_organization_data": {name: org[name] for name in names}}


def organization_shape(world: World, org: Json) -> Json:
    """Show an organization with its counts as they are now."""
    return org | {
        "members_count": len(world.memberships.places("org", org["id"])),
        "pending_invitations_count": len(world.invitations.places("waiting", org["id"])),
    }


def deleted(row: Json) -> Json:
    """Show what is left of a user or an organization: no time, no content."""
    kept = {name: row[name] for name in ("slug", "external_id") if row.get(name)}
    return {"object": row["object"], "id": row["id"], **kept, "deleted": True}


def membership_shape(world: World, member: Json) -> Json:
    """Show a membership with its organization and its user inside, as Clerk does."""
    role = member["role"]
    kept = {name: value for name, value in member.items() if name not in ("org_id", "user_id")}
    return kept | {
        "object": "organization_membership",
        "role_name": role_name(role),
        "permissions": PERMISSIONS.get(role, PERMISSIONS["org:member"]),
        "organization": organization_shape(world, world.organizations[member["org_id"]]),
        "public_user_data": public_user(world.users[member["user_id"]]),
    }


def role_name(role: str) -> str:
    """Tell what people call a role."""
    return ROLE_NAMES.get(role, role.removeprefix("org:").title())


def public_user(who: Json) -> Json:
    """Show what other members may see of a user."""
    primary = who["primary_email_address_id"]
    emails = (e["email_address"] for e in who["email_addresses"] if e["id"] == primary)
    return {
        "user_id": who["id"],
        "first_name": who["first_name"],
        "last_name": who["last_name"],
        "image_url": who["image_url"],
        "profile_image_url": who["profile_image_url"],
        "has_image": who["has_image"],
        "identifier": next(emails, who["username"] or ""),
        "username": who["username"],
        "banned": who["banned"],
    }


def _inviter(who: Json) -> Json:
    shown = public_user(who)
    names = ("user_id", "first_name", "last_name", "image_url", "has_image", "identifier")
    return {name: shown[name] for name in names}


def session_event(world: World, row: Json) -> Json:
    """Show a session as its events do: with the whole user, or null."""
    return row | {"user": world.users.get(row["user_id"])}


def session(world: World, user_id: str, org_id: str | None, *, pending: bool = False) -> Json:
    """Make a session; `org_id` is the organization that is active in it."""
    now = world.now_ms()
    return {
        "object": "session",
        "id": world.ids.token("sess_", 27),
        "client_id": world.ids.token("client_", 27),
        "user_id": user_id,
        "actor": None,
        "status": "pending" if pending else "active",
        "tasks": [{"key": "choose-organization"}] if pending else None,
        "last_active_organization_id": org_id,
        "last_active_at": now,
        "latest_activity": None,
        "expire_at": now + SEVEN_DAYS_MS,
        "abandon_at": now + 4 * SEVEN_DAYS_MS,
        "created_at": now,
        "updated_at": now,
    }


def merged_metadata(row: Json, given: Json, names: Iterable[str]) -> Json:
    """Merge what is given into an object's metadata."""
    return {name: _merged(row[name], given[name]) for name in names if given.get(name)}


def _merged(old: Json, new: Json) -> Json:
    """Merge deeply; a null takes a key away."""
    fresh = {key: value for key, value in old.items() if key not in new}
    for key, value in new.items():
        if isinstance(value, dict):
            below = old.get(key)
            fresh[key] = _merged(below if isinstance(below, dict) else {}, value)  # pyright: ignore[reportUnknownArgumentType] (any JSON)
        elif value is not None:
            fresh[key] = value
    return fresh
