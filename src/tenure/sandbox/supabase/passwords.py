"""Passwords, kept so that the table does not tell them."""

import hashlib
import hmac

from tenure.base.ids import Ids
from tenure.sandbox.supabase.world import Refused, World


def hashed(password: str, ids: Ids) -> str:
    """Hash a password; the real service writes bcrypt there."""
    salt = ids.token("", 16)
    return f"scrypt${salt}${_digest(password, salt)}"


def fits(password: str, kept: str) -> bool:
    """Say whether it is the password."""
    scheme, _, rest = (kept or "").partition("$")
    salt, _, digest = rest.partition("$")
    return scheme == "scrypt" and hmac.compare_digest(_digest(password, salt), digest)


def check_strength(world: World, password: str) -> None:
    """Refuse a password that is too short."""
    if len(password) < world.min_password:
        raise Refused(
            422,
            "weak_password",
            f"Password should be at least {world.min_password} characters.",
            weak_password={"reasons": ["length"]},
        )


def _digest(password: str, salt: str) -> str:
    return hashlib.scrypt(password.encode(), salt=salt.encode(), n=1024, r=8, p=1).hex()
