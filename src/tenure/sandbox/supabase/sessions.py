"""What people do themselves: sign up, sign in, refresh, look at and change themselves, leave."""

from datetime import timedelta
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenure.base.db import Tx
from tenure.sandbox.supabase import passwords, people, signing, store, tokens
from tenure.sandbox.supabase.asking import body_of, claims_of, mapping, text, world_of
from tenure.sandbox.supabase.world import Json, Refused, World

SCOPES = ("global", "local", "others")


async def sign_up(request: Request) -> Response:
    """`POST /signup`: without an address, somebody anonymous."""
    world, given = world_of(request), await body_of(request)
    at, email, phone = world.clock.now(), text(given, "email").lower(), text(given, "phone")
    if not email and not phone and not world.anonymous:
        raise Refused(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
    password = text(given, "password")
    if email or phone:
        passwords.check_strength(world, password)
    certain = at if world.autoconfirm else None
    user: Json = {
        "id": world.ids.uuid(),
        "email": email or None,
        "phone": phone.removeprefix("+") or None,
        "password": passwords.hashed(password, world.ids) if password else "",
        "user_metadata": mapping(given, "data"),
        "is_anonymous": not email and not phone,
        "email_confirmed_at": certain if email else None,
        "phone_confirmed_at": certain if phone else None,
    }
    async with world.db.transaction() as tx:
        if await store.get_user(tx, email=email or None, phone=user["phone"]):
            raise Refused(422, "user_already_exists", "User already registered")
        async with store.said("saving new user"):
            shown = await _founded(tx, user, world)
        if not world.autoconfirm and not user["is_anonymous"]:
            return JSONResponse(shown)
        return JSONResponse(await _begin(tx, world, user["id"]))


async def _founded(tx: Tx, user: Json, world: World) -> Json:
    try:
        return await people.found_user(tx, user, at=world.clock.now())
    except Refused as exc:
        if exc.reason == "unexpected_failure":
            raise Refused(500, exc.reason, "Database error saving new user") from exc
        raise


async def token(request: Request) -> Response:
    """`POST /token?grant_type=password` or `refresh_token`."""
    world, given = world_of(request), await body_of(request)
    kind = request.query_params.get("grant_type")
    if kind == "password":
        return JSONResponse(await _sign_in(world, given))
    if kind == "refresh_token":
        return JSONResponse(await _refresh(world, text(given, "refresh_token")))
    raise Refused(400, "validation_failed", "unsupported_grant_type")


async def _sign_in(world: World, given: Json) -> Json:
    email, phone = text(given, "email").lower() or None, text(given, "phone").removeprefix("+")
    async with world.db.transaction() as tx:
        user = await store.get_user(tx, email=email, phone=phone or None)
        if user is None or not passwords.fits(text(given, "password"), user["encrypted_password"]):
            raise Refused(400, "invalid_credentials", "Invalid login credentials")
        _check_ban(world, user)
        if email and user["email_confirmed_at"] is None:
            raise Refused(400, "email_not_confirmed", "Email not confirmed")
        return await _begin(tx, world, user["id"])


async def _begin(tx: Tx, world: World, user_id: UUID) -> Json:
    """Begin a session and give its first pair of tokens."""
    at, session = world.clock.now(), {"id": world.ids.uuid(), "user_id": user_id}
    await store.put_session(tx, session["id"], user_id, at=at)
    fresh = world.ids.token("", 12)
    await store.put_token(tx, fresh, session, parent=None, at=at)
    async with store.said("granting user"):
        await store.change_user(tx, user_id, {"signed_in": at.isoformat()}, at=at)
    return await _pair(tx, world, session, fresh)


async def _pair(tx: Tx, world: World, session: Json, refresh: str) -> Json:
    user = await store.get_user(tx, user_id=session["user_id"])
    if user is None:
        raise Refused(404, "user_not_found", "User not found")
    shown = await people.shown(tx, user["id"])
    return tokens.session_json(world, user, shown, session_id=str(session["id"]), refresh=refresh)


async def _refresh(world: World, given: str) -> Json:
    """Change a refresh token for a new pair; the one before the present one may come again.

    Reuse after that ends the whole family, and that is kept although the answer is a refusal.
    """
    async with world.db.transaction() as tx:
        kept = await store.get_token(tx, given)
        session = await store.get_session(tx, kept["session_id"]) if kept else None
        if kept is None or session is None:
            message = "Invalid Refresh Token: Refresh Token Not Found"
            raise Refused(400, "refresh_token_not_found", message)
        user = await store.get_user(tx, user_id=session["user_id"])
        _check_ban(world, user or {})
        kept = await store.get_token(tx, given) or kept  # again: we have waited for the session
        fresh = await _exchanged(tx, world, kept, session)
        if fresh is not None:
            return await _pair(tx, world, session, fresh)
    raise Refused(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")


async def _exchanged(tx: Tx, world: World, kept: Json, session: Json) -> str | None:
    """Give the refresh token that answers this one; None where it must not be used any more."""
    at = world.clock.now()
    if kept["revoked"]:
        live = await store.get_live_token(tx, session["id"])
        if live is not None and live["parent"] == kept["token"]:
            return str(live["token"])
        if at > kept["updated_at"] + timedelta(seconds=world.reuse_interval):
            await store.revoke_family(tx, session["id"], at=at)
            return None
    fresh = world.ids.token("", 12)
    await store.put_token(tx, fresh, session, parent=kept["token"], at=at)
    return fresh


def _check_ban(world: World, user: Json) -> None:
    until = user.get("banned_until")
    if until is not None and until > world.clock.now():
        raise Refused(400, "user_banned", "User is banned")


async def _present(tx: Tx, claims: Json) -> Json:
    """Find the signed-in user; her session must still be there."""
    user = await store.get_user(tx, user_id=UUID(str(claims["sub"])))
    if user is None:
        raise Refused(403, "user_not_found", "User from sub claim in JWT does not exist")
    session_id = claims.get("session_id")
    if session_id and await store.get_session(tx, UUID(str(session_id))) is None:
        message = "Session from session_id claim in JWT does not exist"
        raise Refused(403, "session_not_found", message)
    return user


async def get_user(request: Request) -> Response:
    """`GET /user`."""
    claims = claims_of(request)
    async with world_of(request).db.transaction() as tx:
        user = await _present(tx, claims)
        return JSONResponse(await people.shown(tx, user["id"]))


async def update_user(request: Request) -> Response:
    """`PUT /user`: what somebody may change of herself; who gives an address is not anonymous."""
    claims, world, given = claims_of(request), world_of(request), await body_of(request)
    changes = people.wished(world, given) | {"own": mapping(given, "data")}
    at = world.clock.now()
    if "email" in changes or "phone" in changes:
        changes["anonymous"] = False
        changes["email_at" if "email" in changes else "phone_at"] = at.isoformat()
    async with world.db.transaction() as tx:
        user = await _present(tx, claims)
        return JSONResponse(await people.change(tx, user["id"], changes, at=at))


async def log_out(request: Request) -> Response:
    """`POST /logout?scope=global|local|others`."""
    claims, scope = claims_of(request), request.query_params.get("scope", "global")
    if scope not in SCOPES:
        raise Refused(400, "validation_failed", f"Unsupported logout scope {scope!r}")
    session_id = UUID(str(claims.get("session_id")))
    async with world_of(request).db.transaction() as tx:
        user = await _present(tx, claims)
        if scope == "local":
            await store.drop_session(tx, session_id)
        else:
            await store.drop_sessions(tx, user["id"], but=session_id if scope == "others" else None)
    return Response(status_code=204)


async def jwks(request: Request) -> Response:
    """`GET /.well-known/jwks.json`: for anybody, and for ten minutes."""
    headers = {"cache-control": "public, max-age=600"}
    return JSONResponse(signing.jwks(world_of(request).kept.keys), headers=headers)


async def configuration(request: Request) -> Response:
    """`GET /.well-known/openid-configuration`."""
    issuer = world_of(request).issuer
    return JSONResponse(
        {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "token_endpoint": f"{issuer}/token",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "ES256"],
        }
    )


async def health(_: Request) -> Response:
    """`GET /health`."""
    said = "GoTrue is a user registration and authentication API"
    return JSONResponse({"version": "sandbox", "name": "GoTrue", "description": said})


routes = [
    Route("/signup", sign_up, methods=["POST"]),
    Route("/token", token, methods=["POST"]),
    Route("/user", get_user, methods=["GET"]),
    Route("/user", update_user, methods=["PUT"]),
    Route("/logout", log_out, methods=["POST"]),
    Route("/.well-known/jwks.json", jwks, methods=["GET"]),
    Route("/.well-known/openid-configuration", configuration, methods=["GET"]),
    Route("/health", health, methods=["GET"]),
]
