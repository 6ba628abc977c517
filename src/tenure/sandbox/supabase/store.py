"""SQL of the `auth` schema."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from tenure.base.db import Tx
from tenure.sandbox.supabase.world import Json, Refused

INSTANCE = UUID(int=0)  # what a hosted project writes everywhere


@asynccontextmanager
async def said(doing: str) -> AsyncGenerator[None]:
    """Answer as Supabase Auth does when the database refuses, for instance in a trigger."""
    try:
        yield
    except psycopg.errors.UniqueViolation:
        raise
    except psycopg.Error as exc:
        raise Refused(500, "unexpected_failure", f"Database error {doing}") from exc


async def put_user(tx: Tx, user: Json, *, at: datetime) -> None:
    """Add a user; the values that are not given are those of a new one."""
    await tx.execute(
        """
        INSERT INTO auth.users (
            instance_id, id, aud, role, email, phone, encrypted_password, raw_app_meta_data,
            raw_user_meta_data, is_anonymous, email_confirmed_at, phone_confirmed_at, banned_until,
            confirmation_token, recovery_token, email_change_token_new, email_change,
            created_at, updated_at)
        VALUES (
            %(instance)s, %(id)s, 'authenticated', %(role)s, %(email)s, %(phone)s, %(password)s,
            %(app)s, %(own)s, %(anonymous)s, %(email_at)s, %(phone_at)s, %(banned)s,
            '', '', '', '', %(at)s, %(at)s)
        """,
        {
            "instance": INSTANCE,
            "id": user["id"],
            "role": user.get("role") or "authenticated",
            "email": user.get("email"),
            "phone": user.get("phone"),
            "password": user.get("password", ""),
            "app": Jsonb(user.get("app_metadata", {})),
            "own": Jsonb(user.get("user_metadata", {})),
            "anonymous": user.get("is_anonymous", False),
            "email_at": user.get("email_confirmed_at"),
            "phone_at": user.get("phone_confirmed_at"),
            "banned": user.get("banned_until"),
            "at": at,
        },
    )


async def put_identity(tx: Tx, user_id: UUID, provider: str, data: Json, *, at: datetime) -> None:
    """Add or renew one way of signing in."""
    await tx.execute(
        """
        INSERT INTO auth.identities (provider_id, user_id, identity_data, provider,
                                     last_sign_in_at, created_at, updated_at)
        VALUES (%(id)s, %(user)s, %(data)s, %(provider)s, %(at)s, %(at)s, %(at)s)
        ON CONFLICT (provider_id, provider) DO UPDATE
           SET identity_data = excluded.identity_data, updated_at = excluded.updated_at
        """,
        {"id": str(user_id), "user": user_id, "data": Jsonb(data), "provider": provider, "at": at},
    )


async def change_user(tx: Tx, user_id: UUID, changes: Mapping[str, Any], *, at: datetime) -> None:
    """Write what is named in `changes`, and leave the rest; one statement, one trigger."""
    await tx.execute(
        """
        UPDATE auth.users SET
            email = CASE WHEN %(c)s ? 'email' THEN %(c)s ->> 'email' ELSE email END,
            phone = CASE WHEN %(c)s ? 'phone' THEN %(c)s ->> 'phone' ELSE phone END,
            role = coalesce(%(c)s ->> 'role', role),
            encrypted_password = coalesce(%(c)s ->> 'password', encrypted_password),
            raw_app_meta_data = coalesce(raw_app_meta_data, '{}') || coalesce(%(c)s -> 'app', '{}'),
            raw_user_meta_data =
                coalesce(raw_user_meta_data, '{}') || coalesce(%(c)s -> 'own', '{}'),
            email_confirmed_at = coalesce((%(c)s ->> 'email_at')::timestamptz, email_confirmed_at),
            phone_confirmed_at = coalesce((%(c)s ->> 'phone_at')::timestamptz, phone_confirmed_at),
            last_sign_in_at = coalesce((%(c)s ->> 'signed_in')::timestamptz, last_sign_in_at),
            is_anonymous = coalesce((%(c)s -> 'anonymous')::boolean, is_anonymous),
            banned_until = CASE WHEN %(c)s ? 'banned'
                                THEN (%(c)s ->> 'banned')::timestamptz ELSE banned_until END,
            updated_at = %(at)s
         WHERE id = %(id)s
        """,
        {"id": user_id, "c": Jsonb(dict(changes)), "at": at},
    )


async def bury_user(tx: Tx, user_id: UUID, *, email: str, phone: str, at: datetime) -> None:
    """Delete softly: the row stays, and nobody can be recognised in it."""
    await tx.execute(
        """
        UPDATE auth.users
           SET email = %(email)s, phone = %(phone)s, encrypted_password = '',
               raw_app_meta_data = '{}', raw_user_meta_data = '{}', email_change = '',
               phone_change = '', deleted_at = %(at)s, updated_at = %(at)s
         WHERE id = %(id)s
        """,
        {"id": user_id, "email": email, "phone": phone, "at": at},
    )
    await tx.execute("DELETE FROM auth.identities WHERE user_id = %s", (user_id,))
    await tx.execute("DELETE FROM auth.sessions WHERE user_id = %s", (user_id,))


async def drop_user(tx: Tx, user_id: UUID) -> None:
    """Delete for good; identities and sessions go along."""
    await tx.execute("DELETE FROM auth.users WHERE id = %s", (user_id,))


async def get_user(
    tx: Tx, *, user_id: UUID | None = None, email: str | None = None, phone: str | None = None
) -> Json | None:
    """Find a user who is not softly deleted by her address; by her id, any."""
    cur = await tx.execute(
        """
        SELECT * FROM auth.users
         WHERE id = %(id)s
            OR (deleted_at IS NULL AND NOT is_sso_user AND (email = %(email)s OR phone = %(phone)s))
         LIMIT 1
        """,
        {"id": user_id, "email": email, "phone": phone},
    )
    return await cur.fetchone()


async def list_users(tx: Tx, *, limit: int, offset: int) -> tuple[list[Json], int]:
    """List a page of users, newest first, and say how many there are."""
    cur = await tx.execute(
        "SELECT * FROM auth.users WHERE instance_id = %s ORDER BY created_at DESC, id"
        " LIMIT %s OFFSET %s",
        (INSTANCE, limit, offset),
    )
    users = await cur.fetchall()
    cur = await tx.execute(
        "SELECT count(*) AS n FROM auth.users WHERE instance_id = %s", [INSTANCE]
    )
    total = await cur.fetchone()
    return users, total["n"] if total else 0


async def list_identities(tx: Tx, user_id: UUID) -> list[Json]:
    """List the ways in which a user signs in."""
    cur = await tx.execute(
        "SELECT * FROM auth.identities WHERE user_id = %s ORDER BY created_at, provider", (user_id,)
    )
    return await cur.fetchall()


async def put_session(tx: Tx, session_id: UUID, user_id: UUID, *, at: datetime) -> None:
    """Begin a session."""
    await tx.execute(
        """
        INSERT INTO auth.sessions (id, user_id, created_at, updated_at, aal)
        VALUES (%s, %s, %s, %s, 'aal1')
        """,
        (session_id, user_id, at, at),
    )


async def get_session(tx: Tx, session_id: UUID) -> Json | None:
    """Read a session, and let nobody else refresh it meanwhile."""
    cur = await tx.execute("SELECT * FROM auth.sessions WHERE id = %s FOR UPDATE", (session_id,))
    return await cur.fetchone()


async def drop_sessions(tx: Tx, user_id: UUID, *, but: UUID | None = None) -> None:
    """End every session of a user, or every other one."""
    await tx.execute(
        "DELETE FROM auth.sessions WHERE user_id = %s AND id IS DISTINCT FROM %s", (user_id, but)
    )


async def drop_session(tx: Tx, session_id: UUID) -> None:
    """End one session."""
    await tx.execute("DELETE FROM auth.sessions WHERE id = %s", (session_id,))


async def put_token(tx: Tx, token: str, session: Json, *, parent: str | None, at: datetime) -> None:
    """Add a refresh token; the one it comes from is spent."""
    await tx.execute(
        """
        INSERT INTO auth.refresh_tokens
               (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
        VALUES (%s, %s, %s, false, %s, %s, %s, %s)
        """,
        (INSTANCE, token, str(session["user_id"]), at, at, parent, session["id"]),
    )
    await tx.execute(
        "UPDATE auth.refresh_tokens SET revoked = true, updated_at = %s"
        " WHERE token = %s AND NOT revoked",
        (at, parent),
    )
    await tx.execute(
        "UPDATE auth.sessions SET refreshed_at = %s WHERE id = %s",
        (at.replace(tzinfo=None), session["id"]),
    )


async def get_token(tx: Tx, token: str) -> Json | None:
    """Read a refresh token."""
    cur = await tx.execute("SELECT * FROM auth.refresh_tokens WHERE token = %s", (token,))
    return await cur.fetchone()


async def get_live_token(tx: Tx, session_id: UUID) -> Json | None:
    """Read the newest refresh token of a session that is not spent."""
    cur = await tx.execute(
        "SELECT * FROM auth.refresh_tokens WHERE session_id = %s AND NOT revoked"
        " ORDER BY id DESC LIMIT 1",
        (session_id,),
    )
    return await cur.fetchone()


async def revoke_family(tx: Tx, session_id: UUID, *, at: datetime) -> None:
    """Spend every refresh token of a session."""
    await tx.execute(
        "UPDATE auth.refresh_tokens SET revoked = true, updated_at = %s"
        " WHERE session_id = %s AND NOT revoked",
        (at, session_id),
    )
