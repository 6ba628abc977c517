"""The official SDK reads every answer: it checks each against Clerk's published shapes."""

from typing import Any

import pytest
from clerk_backend_api import Clerk, models
from clerk_backend_api.models import ClerkErrors

ADMIN, MEMBER = "org:admin", "org:member"

# Its own request model asks itself for a field that it calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*DEPRECATED.*:DeprecationWarning")


def a_user(sdk: Clerk, **given: Any) -> models.User:
    user = sdk.users.create(**given)
    assert user is not None
    return user


def an_org(sdk: Clerk, creator: models.User, **given: Any) -> models.Organization:
    wish = {"name": "Acme", "created_by": creator.id, "max_allowed_memberships": 0} | given
    org = sdk.organizations.create(request=wish)
    assert org is not None
    return org


def refusal(error: pytest.ExceptionInfo[ClerkErrors]) -> str:
    return error.value.data.errors[0].code


def test_users_are_made_changed_found_counted_and_deleted(sdk: Clerk) -> None:
    user = a_user(sdk, email_address=["ada@example.com"], first_name="Ada", external_id="ext_1")
    changed = sdk.users.update(user_id=user.id, first_name="Augusta", username="ada")
    assert (changed.first_name, changed.username) == ("Augusta", "ada")
    merged = sdk.users.update_metadata(user_id=user.id, public_metadata={"a": 1, "b": {"c": 2}})
    assert merged.public_metadata == {"a": 1, "b": {"c": 2}}
    merged = sdk.users.update_metadata(user_id=user.id, public_metadata={"a": None, "b": {"d": 3}})
    assert merged.public_metadata == {"b": {"c": 2, "d": 3}}
    assert sdk.users.get(user_id=user.id).first_name == "Augusta"
    for wish in (
        {"user_id": [user.id]},
        {"user_id": [f"+{user.id}"]},
        {"external_id": ["ext_1"]},
        {"email_address": ["ADA@example.com"]},
        {"query": "augus"},
    ):
        assert [found.id for found in sdk.users.list(request=wish)] == [user.id]
    assert user.id not in [u.id for u in sdk.users.list(request={"user_id": [f"-{user.id}"]})]
    total = sdk.users.count(request={}).total_count
    assert sdk.users.delete(user_id=user.id).deleted
    assert sdk.users.count(request={}).total_count == total - 1
    with pytest.raises(ClerkErrors) as gone:
        sdk.users.get(user_id=user.id)
    assert refusal(gone) == "resource_not_found"


def test_what_must_be_unique_is(sdk: Clerk) -> None:
    first = a_user(sdk, external_id="ext_9", username="nine")
    for taken in ({"external_id": "ext_9"}, {"username": "nine"}):
        with pytest.raises(ClerkErrors) as error:
            a_user(sdk, **taken)
        assert refusal(error) == "form_identifier_exists"
    same = sdk.users.update(user_id=first.id, username="nine")
    assert same.username == "nine"


def test_a_banned_user_loses_the_sessions_until_unbanned(sdk: Clerk) -> None:
    user = a_user(sdk)
    session = sdk.sessions.create(request={"user_id": user.id})
    assert sdk.users.ban(user_id=user.id).banned
    assert sdk.sessions.get(session_id=session.id).status == "revoked"
    assert sdk.users.list(request={"banned": True, "user_id": [user.id]})
    assert not sdk.users.unban(user_id=user.id).banned
    assert sdk.users.lock(user_id=user.id).locked
    assert not sdk.users.unlock(user_id=user.id).locked


def test_sessions_are_made_found_revoked_and_give_tokens(sdk: Clerk) -> None:
    user = a_user(sdk)
    first = sdk.sessions.create(request={"user_id": user.id})
    second = sdk.sessions.create(request={"user_id": user.id})
    assert sdk.sessions.create_token(session_id=first.id, expires_in_seconds=60).jwt
    assert sdk.sessions.revoke(session_id=first.id).status == "revoked"
    active = sdk.sessions.list(user_id=user.id, status=models.QueryParamStatus.ACTIVE)
    assert [session.id for session in active] == [second.id]


def test_an_address_is_added_made_primary_and_taken_away(sdk: Clerk) -> None:
    user = a_user(sdk, email_address=["old@example.com"])
    fresh = sdk.email_addresses.create(
        request={"user_id": user.id, "email_address": "new@example.com", "verified": True}
    )
    sdk.email_addresses.update(email_address_id=fresh.id, primary=True)
    assert sdk.users.get(user_id=user.id).primary_email_address_id == fresh.id
    sdk.email_addresses.delete(email_address_id=user.email_addresses[0].id)
    left = sdk.users.get(user_id=user.id).email_addresses
    assert [email.email_address for email in left] == ["new@example.com"]
    assert a_user(sdk, email_address=["old@example.com"])


def test_organizations_are_made_changed_found_and_deleted(sdk: Clerk) -> None:
    ada = a_user(sdk)
    org = an_org(sdk, ada, slug="acme-1")
    assert sdk.organizations.get(organization_id="acme-1").id == org.id
    changed = sdk.organizations.update(organization_id=org.id, name="Acme 2", slug="acme-2")
    assert (changed.name, changed.slug, changed.max_allowed_memberships) == ("Acme 2", "acme-2", 0)
    merged = sdk.organizations.merge_metadata(organization_id=org.id, public_metadata={"plan": 1})
    assert merged.public_metadata == {"plan": 1}
    for wish in ({"organization_id": [org.id]}, {"user_id": [ada.id]}, {"query": "ACME-2"}):
        page = sdk.organizations.list(**wish, include_members_count=True)
        assert [(found.id, found.members_count) for found in page.data] == [(org.id, 1)]
    nobody = a_user(sdk)
    assert sdk.organizations.list(user_id=[nobody.id]).total_count == 0
    assert sdk.organizations.delete(organization_id=org.id).deleted


def test_memberships_are_made_changed_listed_every_way_and_deleted(sdk: Clerk) -> None:
    ada, ben, cy = a_user(sdk), a_user(sdk, email_address=["ben@example.com"]), a_user(sdk)
    org = an_org(sdk, ada)
    api = sdk.organization_memberships
    for who in (ben, cy):
        api.create(organization_id=org.id, user_id=who.id, role=MEMBER)
    assert api.update(organization_id=org.id, user_id=ben.id, role=ADMIN).role == ADMIN

    def ids(**wish: Any) -> list[str]:
        page = api.list(organization_id=org.id, **wish)
        assert page.total_count >= len(page.data)
        return [member.public_user_data.user_id for member in page.data]

    assert ids() == [cy.id, ben.id, ada.id]
    assert ids(order_by="+created_at") == [ada.id, ben.id, cy.id]
    assert ids(order_by="+created_at", limit=1, offset=1) == [ben.id]
    assert ids(order_by="-created_at", limit=1, offset=2) == [ada.id]
    assert ids(user_id=[ada.id, cy.id, "user_nobody"]) == [cy.id, ada.id]
    assert ids(user_id=[f"-{ada.id}"]) == [cy.id, ben.id]
    assert ids(role=[MEMBER]) == [cy.id]
    assert ids(email_address=["ben@example.com"]) == ids(query="ben@") == [ben.id]
    mine = sdk.users.get_organization_memberships(user_id=ben.id)
    assert [(m.organization.id, m.role) for m in mine.data] == [(org.id, ADMIN)]
    everybody = sdk.users.get_instance_organization_memberships(limit=500, order_by="-created_at")
    assert [m.public_user_data.user_id for m in everybody.data][:3] == [cy.id, ben.id, ada.id]
    assert api.update_metadata(
        organization_id=org.id, user_id=ben.id, public_metadata={"desk": 4}
    ).public_metadata == {"desk": 4}
    assert api.delete(organization_id=org.id, user_id=ben.id).role == ADMIN
    assert ids() == [cy.id, ada.id]


def test_invitations_are_made_listed_revoked_and_counted(sdk: Clerk) -> None:
    ada = a_user(sdk)
    org = an_org(sdk, ada, max_allowed_memberships=4)
    api, name = sdk.organization_invitations, {"organization_id": org.id}
    first = api.create(**name, email_address="a@example.com", role=MEMBER, inviter_user_id=ada.id)
    assert (first.status, first.public_inviter_data.user_id) == ("pending", ada.id)
    wishes = [{"email_address": f"{n}@example.com", "role": ADMIN} for n in "bc"]
    many = api.bulk_create(**name, request_body=wishes)
    assert many.total_count == 2
    assert sdk.organizations.get(organization_id=org.id).pending_invitations_count == 3
    with pytest.raises(ClerkErrors) as full:
        api.create(**name, email_address="d@example.com", role=MEMBER)
    assert refusal(full) == "organization_membership_quota_exceeded"
    assert api.revoke(**name, invitation_id=first.id).status == "revoked"
    with pytest.raises(ClerkErrors) as late:
        api.revoke(**name, invitation_id=first.id)
    assert refusal(late) == "organization_invitation_not_pending"
    assert api.get(**name, invitation_id=first.id).status == "revoked"
    status = models.ListOrganizationInvitationsQueryParamStatus
    pending = api.list(**name, status=status.PENDING)
    assert [i.id for i in pending.data] == [i.id for i in reversed(many.data)]
    assert api.list(**name, status=status.REVOKED).total_count == 1
    assert api.get_all(query="b@").total_count == 1
    with pytest.raises(ClerkErrors) as twice:
        api.create(**name, email_address="B@example.com", role=MEMBER)
    assert refusal(twice) == "organization_invitation_not_unique"


def test_more_than_five_hundred_at_once_are_refused(sdk: Clerk) -> None:
    with pytest.raises(ClerkErrors) as error:
        sdk.users.list(request={"limit": 501})
    assert refusal(error) == "form_param_value_invalid"
    with pytest.raises(ClerkErrors) as error:
        sdk.users.list(request={"order_by": "-shoe_size"})
    assert refusal(error) == "form_param_value_invalid"
