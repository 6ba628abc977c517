"""`/admin/users`: what a service key may do with people."""

import base64
import hashlib
import re
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenure.base.db import Tx
from tenure.sandbox.supabase import passwords, store, tokens
from tenure.sandbox.supabase.asking import (
    body_of,
    check_admin,
    mapping,
    number,
    text,
    uuid_of,
    world_of,
)
from tenure.sandbox.supabase.world import Json, Refused, World

MAX_PAGE = 1000
SPAN = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


async def create(request: Request) -> Response:
    """`POST /admin/users`."""
    check_admin(request)
    world, given = world_of(request), await body_of(request)
    at, email, phone = world.clock.now(), text(given, "email").lower(), text(given, "phone")
    if not email and not phone:
        message = "Cannot create a user without either an email or phone"
        raise Refused(400, "validation_failed", message)
    password = text(given, "password")
    user = {
        "id": uuid_of(text(given, "id")) if given.get("id") else world.ids.uuid(),
        "role": text(given, "role"),
        "email": email or None,
        "phone": phone.removeprefix("+") or None,
        "password": passwords.hashed(password, world.ids) if password else "",
        "app_metadata": mapping(given, "app_metadata"),
        "user_metadata": mapping(given, "user_metadata"),
        "email_confirmed_at": at if email and given.get("email_confirm") else None,
        "phone_confirmed_at": at if phone and given.get("phone_confirm") else None,
        "banned_until": banned_until(text(given, "ban_duration"), at),
    }
    async with world.db.transaction() as tx:
        return JSONResponse(await found_user(tx, user, at=at))


async def found_user(tx: Tx, user: Json, *, at: datetime) -> Json:
    """Add a user with her identities, and show her.

    Errors: Refused where the address is taken, or a trigger of the database fails.
    """
    providers = [name for name in ("email", "phone") if user.get(name)]
    named = {"provider": providers[0], "providers": providers} if providers else {}
    try:
        async with store.said("creating new user"):
            await store.put_user(tx, user, at=at)
    except psycopg.errors.UniqueViolation as exc:
        what = "phone" if "phone" in str(exc.diag.constraint_name) else "email"
        message = "A user with this email address has already been registered"
        if what == "phone":
            message = "A user with this phone number has already been registered"
        raise Refused(422, f"{what}_exists", message) from exc
    async with store.said("updating user"):
        for name in providers:
            data = {"sub": str(user["id"]), name: user[name], f"{name}_verified": False}
            await store.put_identity(tx, user["id"], name, data, at=at)
        await store.change_user(tx, user["id"], {"app": named}, at=at)
    return await shown(tx, user["id"])


async def shown(tx: Tx, user_id: UUID) -> Json:
    """Show one user.

    Errors: Refused when there is none.
    """
    row = await store.get_user(tx, user_id=user_id)
    if row is None:
        raise Refused(404, "user_not_found", "User not found")
    return tokens.user_json(row, await store.list_identities(tx, user_id))


async def list_all(request: Request) -> Response:
    """`GET /admin/users?page=&per_page=`."""
    check_admin(request)
    page, size = number(request, "page", 1), min(number(request, "per_page", 50), MAX_PAGE)
    async with world_of(request).db.transaction() as tx:
        rows, total = await store.list_users(tx, limit=size, offset=(page - 1) * size)
        users = [tokens.user_json(r, await store.list_identities(tx, r["id"])) for r in rows]
    last = max(1, -(-total // size))
    following = [("next", page + 1)] if page < last else []
    links = ", ".join(
        f'</admin/users?page={n}&per_page={size}>; rel="{rel}"'
        for rel, n in [*following, ("last", last)]
    )
    headers = {"x-total-count": str(total), "link": links}
    return JSONResponse({"users": users, "aud": "authenticated"}, headers=headers)


async def get(request: Request) -> Response:
    """`GET /admin/users/{id}`."""
    check_admin(request)
    async with world_of(request).db.transaction() as tx:
        return JSONResponse(await shown(tx, uuid_of(request.path_params["user_id"])))


async def update(request: Request) -> Response:
    """`PUT /admin/users/{id}`: what is named changes, metadata key by key."""
    check_admin(request)
    world, given = world_of(request), await body_of(request)
    user_id, at = uuid_of(request.path_params["user_id"]), world.clock.now()
    changes = wished(world, given) | {
        "app": mapping(given, "app_metadata"),
        "own": mapping(given, "user_metadata"),
        **({"role": text(given, "role")} if given.get("role") else {}),
        **({"email_at": at.isoformat()} if given.get("email_confirm") else {}),
        **({"phone_at": at.isoformat()} if given.get("phone_confirm") else {}),
    }
    if given.get("ban_duration"):
        until = banned_until(text(given, "ban_duration"), at)
        changes["banned"] = until.isoformat() if until else None
    async with world.db.transaction() as tx:
        return JSONResponse(await change(tx, user_id, changes, at=at))


def wished(world: World, given: Json) -> Json:
    """Read the changes that a user may also wish for herself."""
    changes: Json = {}
    if given.get("email"):
        changes["email"] = text(given, "email").lower()
    if given.get("phone"):
        changes["phone"] = text(given, "phone").removeprefix("+")
    if password := text(given, "password"):
        passwords.check_strength(world, password)
        changes["password"] = passwords.hashed(password, world.ids)
    return changes


async def change(tx: Tx, user_id: UUID, changes: Json, *, at: datetime) -> Json:
    """Write changes of a user who is there, and show her."""
    await shown(tx, user_id)
    try:
        async with store.said("updating user"):
            await store.change_user(tx, user_id, changes, at=at)
            if email := changes.get("email"):
                data = {"sub": str(user_id), "email": email, "email_verified": False}
                await store.put_identity(tx, user_id, "email", data, at=at)
    except psycopg.errors.UniqueViolation as exc:
        message = "A user with this email address has already been registered"
        raise Refused(422, "email_exists", message) from exc
    return await shown(tx, user_id)


async def delete(request: Request) -> Response:
    """`DELETE /admin/users/{id} {"should_soft_delete": bool}`."""
    check_admin(request)
    world, given = world_of(request), await body_of(request)
    user_id = uuid_of(request.path_params["user_id"])
    async with world.db.transaction() as tx:
        user = await shown(tx, user_id)
        async with store.said("deleting user"):
            if not given.get("should_soft_delete"):
                await store.drop_user(tx, user_id)
            elif "deleted_at" not in user:
                email, phone = (_unrecognisable(user, what) for what in ("email", "phone"))
                await store.bury_user(tx, user_id, email=email, phone=phone, at=world.clock.now())
    return JSONResponse({})


def banned_until(duration: str, at: datetime) -> datetime | None:
    """Read a length of time as Go writes it ("24h", "1h30m"); "none" and nothing mean no ban."""
    if duration in {"", "none"}:
        return None
    parts = SPAN.findall(duration)
    if "".join(amount + unit for amount, unit in parts) != duration:
        message = f"invalid format for ban duration: {duration}"
        raise Refused(400, "validation_failed", message)
    return at + timedelta(seconds=sum(float(amount) * SECONDS[unit] for amount, unit in parts))


def _unrecognisable(user: Json, what: str) -> str:
    digest = hashlib.sha256(f"{user['id']}{user[what]}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


routes = [
    Route("/admin/users", create, methods=["POST"]),
    Route("/admin/users", list_all, methods=["GET"]),
    Route("/admin/users/{user_id}", get, methods=["GET"]),
    Route("/admin/users/{user_id}", update, methods=["PUT"]),
    Route("/admin/users/{user_id}", delete, methods=["DELETE"]),
]
