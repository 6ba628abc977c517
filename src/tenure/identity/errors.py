"""What can go wrong with who somebody is."""

from datetime import timedelta

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
    hint = (
        "If the application is yours, add it to CLERK_AUTHORIZED_PARTIES, or what its tokens are "
        "made for to TENURE_OIDC_AUDIENCE."
    )


class PendingSession(NotProven):
    """The user has signed up but has not finished, for instance by choosing an organization."""

    code = "identity.pending_session"
    hint = "Finish signing up with the provider: choose or join an organization."


class AnonymousUser(NotProven):
    """The session is that of somebody who never said who she is."""

    code = "identity.anonymous_user"
    hint = "Sign up: link an e-mail address, a phone or another provider to the user."


class SessionEnded(NotProven):
    """The session was ended before its token expired: signed out, revoked, or all at once."""

    code = "identity.session_ended"


class UserBlocked(NotProven):
    """The provider has blocked the user."""

    code = "identity.user_blocked"
    hint = "Whoever administers the users can unblock her at the provider."


class UserDeleted(NotProven):
    """The user was deleted at the provider."""

    code = "identity.user_deleted"
    hint = "Sign up anew."


class KeysUnavailable(TenureError):
    """The issuer's signing keys cannot be had just now, so no verdict is possible."""

    code = "identity.keys_unavailable"
    hint = "Try again in a few seconds; if it lasts, check that the key address can be reached."


class BadKey(TenureError):
    """A configured key, issuer or publishable key cannot be used."""

    code = "identity.bad_key"
    hint = "Copy the value again from the provider's dashboard."


class BadEvent(TenureError):
    """What was sent is signed, and is no event that we can read."""

    code = "identity.bad_event"
    hint = "Point only this provider's event webhooks at this address."


class BadSignature(TenureError):
    """The event is not signed by the provider with a secret of ours, or too long ago."""

    code = "identity.bad_signature"
    hint = "Compare the endpoint's signing secret with the setting; check this machine's clock."


class ProviderTrouble(TenureError):
    """The provider did not do what we asked; the look is tried again."""

    code = "identity.provider_trouble"
    hint = "Look at the provider's status page; it is tried again by itself."

    def __init__(
        self, message: str, *, retry_after: timedelta = timedelta(0), **facts: object
    ) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after


class ProviderAway(ProviderTrouble):
    """The provider did not answer."""

    code = "identity.provider_away"


class ProviderBusy(ProviderTrouble):
    """The provider asks us to slow down."""

    code = "identity.provider_busy"
    hint = "Lower the rate in the settings if other programs use the same key."


class ProviderKeyRefused(ProviderTrouble):
    """The provider does not accept our key."""

    code = "identity.provider_key_refused"
    hint = "Copy the API key again from the provider's dashboard; is it of the same instance?"


class ProviderFailed(ProviderTrouble):
    """The provider failed, or answered something that we cannot read."""

    code = "identity.provider_failed"


class UsersHidden(ProviderTrouble):
    """The users of Supabase Auth are in this database, and we may not read them."""

    code = "identity.users_hidden"
    hint = "Run `tenure db supabase --install` as the role postgres; --check says what is missing."


class Refused(TenureError):
    """The provider refuses what we wished for, and trying again would not help."""

    code = "identity.refused"
    hint = "The provider's own words say why; nothing was changed."


class NotOffered(Refused):
    """The provider has no such thing."""

    code = "identity.not_offered"
    hint = "Clerk has no inactive members: remove the member instead."


class StaleAnswer(TenureError):
    """The provider answered with something older than what we know already."""

    code = "identity.stale_answer"
    hint = "Nothing to do: it is asked again by itself."
    retry_after = timedelta(seconds=2)


class TooManyMissing(TenureError):
    """The provider suddenly does not have many of those we know, and no event told of it."""

    code = "identity.too_many_missing"
    hint = (
        "Check that the API key belongs to the instance that your users are in. If they are truly "
        "gone, raise TENURE_ABSENCE_LIMIT for a while."
    )
    retry_after = timedelta(hours=1)


class WrongInstance(TooManyMissing):
    """The provider has users, and none of them is ours: the key belongs to another instance."""

    code = "identity.wrong_instance"
    hint = "Set the API key of the instance that your users sign in to. Nothing was dropped."


class NoFreeSeat(TenureError):
    """Every seat of the organization is taken."""

    code = "identity.no_free_seat"
    hint = "Buy more seats, or remove or deactivate a member."


class NoSuchMember(TenureError):
    """The organization has no such member."""

    code = "identity.no_such_member"
    hint = "GET /orgs/{org}/members lists them."


class LastAdmin(TenureError):
    """Nobody would be left who may administer the organization."""

    code = "identity.last_admin"
    hint = "Make somebody else an admin first."


class OnlyOwners(TenureError):
    """Somebody who is no owner wants to make, change or remove one."""

    code = "identity.only_owners"
    hint = "Ask an owner of the organization."


class NotInThatState(TenureError):
    """The membership is not in a state in which this can be done."""

    code = "identity.not_in_that_state"
    hint = "Read the membership again: somebody else may have changed it."


class UnknownOrganization(TenureError):
    """There is no such organization."""

    code = "identity.unknown_organization"
    hint = "Name it by our key or by the provider's id."


class UnknownUser(TenureError):
    """There is no such user."""

    code = "identity.unknown_user"
    hint = "Name her by our key, by the provider's id or by her e-mail address."
