"""What tokens and users look like in Supabase Auth's JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime

from tenure.sandbox.supabase import signing
from tenure.sandbox.supabase.world import Json, World

TIMES = (
    *("email_confirmed_at", "phone_confirmed_at", "confirmed_at", "last_sign_in_at"),
    *("invited_at", "confirmation_sent_at", "banned_until", "deleted_at"),
)


def written(at: datetime) -> str:
    """Write a moment as Supabase Auth does."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def user_json(row: Json, identities: Sequence[Json] = ()) -> Json:
    """Show a user; moments that never came are left out."""
    return {
        "id": str(row["id"]),
        "aud": row["aud"],
        "role": row["role"],
        "email": row["email"] or "",
        "phone": row["phone"] or "",
        "app_metadata": row["raw_app_meta_data"] or {},
        "user_metadata": row["raw_user_meta_data"] or {},
        "identities": [_identity(one) for one in identities],
        "created_at": written(row["created_at"]),
        "updated_at": written(row["updated_at"]),
        "is_anonymous": row["is_anonymous"],
        **{name: written(row[name]) for name in TIMES if row[name] is not None},
    }


def _identity(row: Json) -> Json:
    return {
        "identity_id": str(row["id"]),
        "id": row["provider_id"],
        "user_id": str(row["user_id"]),
        "identity_data": row["identity_data"],
        "provider": row["provider"],
        "last_sign_in_at": written(row["last_sign_in_at"]),
        "created_at": written(row["created_at"]),
        "updated_at": written(row["updated_at"]),
        "email": row["email"],
    }


def access_claims(world: World, user: Json, session_id: str, *, method: str = "password") -> Json:
    """Write the claims of an access token."""
    now = int(world.clock.now().timestamp())
    return {
        "iss": world.issuer,
        "sub": str(user["id"]),
        "aud": user["aud"],
        "exp": now + world.lifetime,
        "iat": now,
        "email": user["email"] or "",
        "phone": user["phone"] or "",
        "app_metadata": user["raw_app_meta_data"] or {},
        "user_metadata": user["raw_user_meta_data"] or {},
        "role": user["role"],
        "aal": "aal1",
        "amr": [{"method": "anonymous" if user["is_anonymous"] else method, "timestamp": now}],
        "session_id": session_id,
        "is_anonymous": user["is_anonymous"],
    }


def session_json(world: World, user: Json, shown: Json, *, session_id: str, refresh: str) -> Json:
    """Write what a successful sign-in answers; `shown` is the user as JSON."""
    claims = access_claims(world, user, session_id)
    return {
        "access_token": signing.sign(claims, world.current),
        "token_type": "bearer",
        "expires_in": world.lifetime,
        "expires_at": claims["exp"],
        "refresh_token": refresh,
        "user": shown,
    }
