"""The token endpoint: codes, passwords and refresh tokens that can be used once."""

import hmac

from starlette.responses import JSONResponse, Response

from tenure.sandbox.workos import sessions, shapes, signing, tokens
from tenure.sandbox.workos.asked import Asked, route
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.state import Json
from tenure.sandbox.workos.table import Row
from tenure.sandbox.workos.users import hashed
from tenure.sandbox.workos.world import World, found

METHODS = {
    "sso": "SSO",
    "password": "Password",
    "passkey": "Passkey",
    "magic_code": "MagicAuth",
    "impersonation": "Impersonation",
    "oauth": "GoogleOAuth",
}


def authenticate(world: World, asked: Asked) -> Response:
    """`POST /user_management/authenticate`."""
    given = asked.body
    _check_client(world, given)
    grants = {
        "authorization_code": with_code,
        "password": with_password,
        "refresh_token": with_refresh_token,
    }
    grant = grants.get(str(given.get("grant_type")))
    if grant is None:
        raise Refused.oauth("unsupported_grant_type", f"not one of {', '.join(grants)}")
    return JSONResponse(grant(world, given))


def _check_client(world: World, given: Json) -> None:
    """See that an application of ours asks; it shows the API key as its secret."""
    secret = str(given.get("client_secret")).encode()
    if given.get("client_id") != world.state.client_id:
        raise Refused.oauth("invalid_client", "Invalid client ID.")
    if not hmac.compare_digest(secret, world.state.api_key.encode()):
        raise Refused.oauth("invalid_client", "Invalid client secret.")


def with_code(world: World, given: Json) -> Json:
    """Exchange a code of `/_sandbox/codes`, once."""
    code = str(given.get("code"))
    kept = world.state.codes.pop(code, None)
    if kept is None or kept["until"] <= world.now_ms() or kept["user_id"] not in world.users.rows:
        raise Refused.oauth("invalid_grant", f"The code '{code}' has expired or is invalid.")
    return _signed_in(world, kept["user_id"], kept["organization_id"], given | kept)


def with_password(world: World, given: Json) -> Json:
    """Sign in with a password; with one organization, into it."""
    user = world.users.first("email", str(given.get("email")).strip().lower())
    if user is None or user.get("_password") != hashed(str(given.get("password"))):
        raise Refused(401, "invalid_credentials", "Invalid credentials.")
    rows = world.memberships.rows
    ids = world.memberships.find("user", user["id"])
    orgs = [rows[key]["organization_id"] for key in ids if rows[key]["status"] == "active"]
    org_id = orgs[0] if len(orgs) == 1 else None
    return _signed_in(world, user["id"], org_id, given | {"auth_method": "password"})


def _signed_in(world: World, user_id: str, org_id: str | None, given: Json) -> Json:
    session = sessions.begin(world, user_id, org_id, given)
    how = METHODS.get(session["auth_method"])
    answer = _pair(world, session) | ({"authentication_method": how} if how else {})
    impersonator = session.get("impersonator")
    return answer | ({"impersonator": impersonator} if impersonator else {})


def with_refresh_token(world: World, given: Json) -> Json:
    """Rotate: a spent token gets the same answer for a while, then none."""
    token = world.state.refresh_tokens.get(str(given.get("refresh_token")))
    if token is None:
        raise Refused.oauth("invalid_grant", "Invalid refresh token.")
    session = world.sessions.get(token["session_id"])
    if session is None or not sessions.alive(world, session):
        raise Refused.oauth("invalid_grant", "Session has already ended.")
    if token["answer"] is not None:
        if world.now_ms() - token["spent_at"] > world.policy.replay_grace * 1000:
            raise Refused.oauth("invalid_grant", "Refresh token already exchanged.")
        return token["answer"]
    session = _in_organization(world, session, given.get("organization_id"))
    answer = _pair(world, session)
    token |= {"spent_at": world.now_ms(), "answer": answer}
    return answer


def _in_organization(world: World, session: Row, wanted: str | None) -> Row:
    """Switch to another organization, or leave one that the user is no member of any more."""
    org_id, user_id = wanted or session["organization_id"], session["user_id"]
    if wanted is not None and world.active(wanted, user_id) is None:
        text = f"User is not an active member of the organization '{wanted}'."
        raise Refused.oauth("organization_membership_not_found", text)
    if world.active(org_id, user_id) is None:
        org_id = None
    if org_id == session["organization_id"]:
        return session
    return world.sessions.put(session | {"organization_id": org_id, "updated_at": world.now()})


def _pair(world: World, session: Row) -> Json:
    """Make the two tokens of a session."""
    fresh = world.ids.token("", 25)
    world.state.refresh_tokens[fresh] = {
        "session_id": session["id"],
        "spent_at": None,
        "answer": None,
    }
    return {
        "user": shapes.shown(world.users.rows[session["user_id"]]),
        "organization_id": session["organization_id"],
        "access_token": tokens.access_token(world, session),
        "refresh_token": fresh,
    }


def show_keys(world: World, asked: Asked) -> Response:
    """`GET /sso/jwks/{client_id}`."""
    if asked.path["client_id"] != world.state.client_id:
        raise Refused.missing("Client", asked.path["client_id"])
    return JSONResponse(signing.jwks(world.signing_keys()))


def make_code(world: World, asked: Asked) -> Response:
    """`POST /_sandbox/codes`: what AuthKit's page would send back to the application."""
    given = asked.body
    user_id, org_id = str(given.get("user_id")), given.get("organization_id")
    found(world.users, user_id, "User")
    if org_id is not None and world.active(org_id, user_id) is None:
        raise Refused(422, "user_not_member_of_organization", f"'{user_id}' is no member of it.")
    code = world.ids.token("", 26)
    world.state.codes[code] = {
        "user_id": user_id,
        "organization_id": org_id,
        "auth_method": given.get("auth_method", "oauth"),
        "impersonator": given.get("impersonator"),
        "until": world.now_ms() + round(world.policy.code_lifetime * 1000),
    }
    return JSONResponse({"code": code})


routes = [
    route("POST", "/user_management/authenticate", authenticate),
    route("GET", "/sso/jwks/{client_id}", show_keys),
    route("POST", "/_sandbox/codes", make_code),
]
