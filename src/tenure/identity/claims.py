"""What a token says about who is asking, in one form for every provider."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec

from tenure.base.clock import moment
from tenure.identity.errors import AnonymousUser, BadToken, PendingSession

WORD = re.compile(r"[\x21-\x7e]{1,255}\Z")
POSTGRES_ROLE = "authenticated"  # what Supabase wants to read in `role`, whoever signed the token
API_KEYS = frozenset({"anon", "service_role"})  # roles of Supabase's long-lived keys
END_OF_TIME = 253_402_300_799  # UNIX seconds; the last second of the year 9999, datetime's limit

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+\Z")]
Name = Annotated[str, msgspec.Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Uuid = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=END_OF_TIME)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a verified token says is asking; our own rows have the last word."""

    provider: str
    issuer: str
    user_id: str  # the provider's id
    session_id: str | None
    org_id: str | None  # the provider's id; only an organization that is active in the session
    org_slug: str | None
    role: str | None  # "admin", never "org:admin"
    permissions: frozenset[str]  # "org:<feature>:<permission>"
    actor: str | None  # the provider's id of whoever impersonates the user
    issued_at: datetime  # UTC
    expires_at: datetime  # UTC


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims that every token must have, and those the verifier itself checks.

    A provider adds its own fields in a subclass and says there who is asking.
    """

    iss: Id
    sub: Id
    iat: Seconds
    exp: Seconds
    nbf: Seconds | None = None
    aud: str | list[str] | None = None
    azp: str | None = None

    @property
    def client(self) -> str | None:
        """The application it was made for, where a provider names it in its own way."""
        return None

    def principal(self, provider: str) -> Principal:
        """Say who is asking."""
        return self.bearer(provider)

    def bearer(self, provider: str, **more: Any) -> Principal:  # noqa: ANN401 (Principal's fields, which checks them)
        """Make the principal: what every provider says, and `more` that this one says."""
        nothing: dict[str, Any] = {
            "session_id": None,
            "org_id": None,
            "org_slug": None,
            "role": None,
            "permissions": frozenset[str](),
            "actor": None,
        }
        return Principal(
            provider=provider,
            issuer=self.iss,
            user_id=self.sub,
            issued_at=moment(self.iat),
            expires_at=moment(self.exp),
            **nothing | more,
        )


def plain_role(role: object) -> str | None:
    """Write a role as we do: "admin", where Clerk also says "org:admin"; None if it is no name."""
    if not isinstance(role, str) or not WORD.match(role):
        return None
    return role.removeprefix("org:") or None


class ActorClaim(msgspec.Struct, frozen=True, kw_only=True):
    """Who is impersonating the subject."""

    sub: Id


class ClerkOrg(msgspec.Struct, frozen=True, kw_only=True):
    """The active organization in a version 2 token."""

    id: Id
    slg: Name | None = None
    rol: Id | None = None
    per: str | None = None  # "read,manage"
    fpm: str | None = None  # "3,2": one decimal bit mask per organization feature


class ClerkClaims(Claims, frozen=True, kw_only=True):
    """Clerk's session token, versions 1 and 2.

    Source: Clerk docs, "Session tokens".
    """

    v: int = 1
    sid: Id  # tokens for other applications (OAuth, JWT templates) name no session
    client_id: object = None
    sts: str | None = None
    act: ActorClaim | None = None
    fea: str | None = None  # "o:dashboard,u:export"
    o: ClerkOrg | None = None
    org_id: Id | None = None
    org_slug: Name | None = None
    org_role: Id | None = None
    org_permissions: list[Id] | None = None

    def principal(self, provider: str) -> Principal:
        """Say who is asking.

        Errors: PendingSession until the sign-up is finished; BadToken for a version we do not know.
        """
        if self.client_id is not None:
            raise BadToken("the token was made for an OAuth application", reason="client")
        if self.sts == "pending":
            raise PendingSession("the session is pending: a step of the sign-up is missing")
        if self.v not in (1, 2):
            raise BadToken(f"session token version {self.v} is not known", reason="version")
        org_id, slug, role, permissions = self._flat() if self.v == 1 else self._nested()
        return self.bearer(
            provider,
            session_id=self.sid,
            org_id=org_id,
            org_slug=slug,
            role=plain_role(role),
            permissions=permissions,
            actor=self.act.sub if self.act else None,
        )

    def _flat(self) -> tuple[str | None, str | None, str | None, frozenset[str]]:
        """Read the organization of version 1; without an id the rest means nothing."""
        if self.org_id is None:
            return None, None, None, frozenset()
        return self.org_id, self.org_slug, self.org_role, frozenset(self.org_permissions or ())

    def _nested(self) -> tuple[str | None, str | None, str | None, frozenset[str]]:
        """Read the organization of version 2, which never looks at the old flat fields."""
        if self.o is None:
            return None, None, None, frozenset()
        return self.o.id, self.o.slg, self.o.rol, frozenset(granted(self.o, self.fea or ""))


def granted(org: ClerkOrg, features: str) -> Iterator[str]:
    """Unpack the permissions that version 2 writes as bit masks.

    The n-th mask belongs to the n-th feature of the *organization* (user features have none);
    its lowest bit is the first name in `per`.
    Source: Clerk docs, "Session tokens", the `o` claim.
    """
    scoped = [feature.strip().partition(":") for feature in features.split(",")]
    names = [name.strip() for name in (org.per or "").split(",")]
    masks = (org.fpm or "").split(",")
    of_org = [feature for scope, _, feature in scoped if "o" in scope and feature]
    for feature, mask in zip(of_org, map(_mask, masks), strict=False):
        yield from (f"org:{feature}:{n}" for i, n in enumerate(names) if n and mask >> i & 1)


def _mask(text: str) -> int:
    """Read one bit mask; an empty one grants nothing."""
    digits = text.strip()
    if not digits:
        return 0
    if len(digits) > 64 or not (digits.isascii() and digits.isdigit()):  # noqa: PLR2004 (64 digits: 200 permissions)
        raise BadToken("the permission masks of the token are not numbers", reason="claims")
    return int(digits)


class WorkosClaims(Claims, frozen=True, kw_only=True):
    """WorkOS's access token.

    Source: WorkOS docs, "Session tokens".
    """

    sid: Id  # a machine's token has none
    org_id: Id | None = None
    role: Id | None = None
    roles: list[Id] | None = None  # the first one is `role`
    user_role: object = None  # where a template moved it to, to leave `role` to Supabase
    permissions: list[Id] | None = None
    act: ActorClaim | None = None
    client_id: Id | None = None

    @property
    def client(self) -> str | None:
        """The application it was made for, in those tokens that say it."""
        return self.client_id

    def principal(self, provider: str) -> Principal:
        """Say who is asking."""
        here = self.org_id is not None  # without an organization the rest means nothing
        return self.bearer(
            provider,
            session_id=self.sid,
            org_id=self.org_id,
            role=self._role() if here else None,
            permissions=frozenset(self.permissions or ()) if here else frozenset(),
            actor=self.act.sub if self.act else None,
        )

    def _role(self) -> str | None:
        if self.role == POSTGRES_ROLE:
            return plain_role(self.user_role)
        return plain_role(self.role or next(iter(self.roles or ()), None))


class SupabaseClaims(Claims, frozen=True, kw_only=True):
    """Supabase Auth's access token; `user_metadata` is the user's own writing and is not read.

    Source: Supabase docs, "JWT claims reference".
    """

    sub: Uuid
    session_id: Uuid
    role: Id  # a role of Postgres, not one in an organization
    is_anonymous: bool = False
    client_id: object = None

    def principal(self, provider: str) -> Principal:
        """Say who is asking.

        Errors: BadToken for a key of the project; AnonymousUser.
        """
        if self.client_id is not None:
            raise BadToken("the token was made for an OAuth application", reason="client")
        if self.role in API_KEYS:
            raise BadToken("the token is a key of the project, nobody's session", reason="role")
        if self.is_anonymous:
            raise AnonymousUser("the session is that of an anonymous user")
        return self.bearer(provider, session_id=self.session_id)


class OidcClaims(Claims, frozen=True, kw_only=True):
    """What tokens of any OpenID Connect issuer may say; only the usual claims are a must."""

    sid: object = None
    org_id: Id | None = None
    role: object = None

    def principal(self, provider: str) -> Principal:
        """Say who is asking."""
        return self.bearer(
            provider,
            session_id=self.sid if isinstance(self.sid, str) and WORD.match(self.sid) else None,
            org_id=self.org_id,
            role=plain_role(self.role) if self.org_id is not None else None,
        )
