"""What an access token of WorkOS says."""

from tenure.sandbox.workos import signing
from tenure.sandbox.workos.state import Json
from tenure.sandbox.workos.table import Row
from tenure.sandbox.workos.world import World


def claims(world: World, session: Row) -> Json:
    """Write the claims for a session as it is now."""
    now = int(world.clock.now().timestamp())
    said: Json = {
        "iss": world.issuer,
        "sub": session["user_id"],
        "sid": session["id"],
        "jti": world.new_id(""),
        "exp": now + round(world.policy.token_lifetime),
        "iat": now,
    }
    if impersonator := session.get("impersonator"):
        said["act"] = {"sub": impersonator["email"]}
    member = world.active(session["organization_id"], session["user_id"])
    return said | (_in_organization(world, member) if member else {})


def _in_organization(world: World, member: Row) -> Json:
    slugs = [role["slug"] for role in member["roles"]]
    held = (world.policy.roles.get(slug, []) for slug in slugs)
    org = world.organizations.rows[member["organization_id"]]
    return {
        "org_id": member["organization_id"],
        "role": member["role"]["slug"],
        "roles": slugs,
        "permissions": list(dict.fromkeys(one for permissions in held for one in permissions)),
        "entitlements": org.get("_entitlements", []),
        "feature_flags": org.get("_feature_flags", []),
    }


def access_token(world: World, session: Row) -> str:
    """Make the token that a session has a right to now."""
    return signing.sign(claims(world, session), world.signing_keys()[0])
