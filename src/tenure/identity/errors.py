"""What can go wrong with who somebody is."""

from tenure.base.errors import TenureError


class NotProven(TenureError):
    """The request does not prove who is asking; every refusal of a token is one of these."""

    code = "identity.not_proven"
    hint = "Sign in again, and send the new session token."


class NoToken(NotProven):
    """The request carries no session token."""

    code = "identity.no_token"
    hint = "Send the session token as `Authorization: Bearer <token>`."


class BadToken(NotProven):
    """The token is malformed, not signed by its issuer, or signed in a way we refuse."""

    code = "identity.bad_token"
    hint = "Send the session token exactly as the provider's SDK returns it."


class TokenExpired(NotProven):
    """The token was good, and its time is over."""

    code = "identity.token_expired"
    hint = "Ask the provider's SDK for a fresh token; session tokens live for about a minute."


class ForeignIssuer(NotProven):
    """The token was made by somebody this service does not trust."""

    code = "identity.foreign_issuer"
    hint = "Check that the application and this service use the same provider instance."


class WrongParty(NotProven):
    """The token was made for another application (its `azp` or `aud` is not ours)."""

    code = "identity.wrong_party"
    hint = "Add the application's origin to CLERK_AUTHORIZED_PARTIES if it is yours."


class PendingSession(NotProven):
    """The user has signed up but has not finished, for instance by choosing an organization."""

    code = "identity.pending_session"
    hint = "Finish signing up with the provider: choose or join an organization."


class KeysUnavailable(TenureError):
    """The issuer's signing keys cannot be had just now, so no verdict is possible."""

    code = "identity.keys_unavailable"
    hint = "Try again in a few seconds; if it lasts, check that the key address can be reached."


class BadKey(TenureError):
    """A configured key, issuer or publishable key cannot be used."""

    code = "identity.bad_key"
    hint = "Copy the value again from the provider's dashboard."
