from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.billing import rules
from tenure.billing.model import LIVE, Account, Owner, Status, Subscription

from .builders import NOON, ORG, a_subscription, accounts, an_account, dictionaries, subscriptions

several = st.lists(subscriptions(), max_size=5, unique_by=lambda s: s.id)


@given(several, st.data())
def test_who_speaks_for_the_owner_does_not_depend_on_the_order_of_arrival(
    found: list[Subscription], data: st.DataObject
) -> None:
    """Pain 18 (fountain#349): the choice among several subscriptions is explicit."""
    assert rules.chosen(data.draw(st.permutations(found))) == rules.chosen(found)


@given(several)
def test_nothing_is_chosen_only_from_nothing_and_never_a_worse_status(
    found: list[Subscription],
) -> None:
    best = rules.chosen(found)

    assert (best is None) == (not found)
    assert best is None or all(rules.RANK[best.status] <= rules.RANK[s.status] for s in found)


def test_every_status_has_a_rank_and_what_gives_access_comes_first() -> None:
    ranked = sorted(Status, key=lambda s: rules.RANK[s])

    assert len(set(rules.RANK.values())) == len(Status)
    assert ranked[:2] == [Status.ACTIVE, Status.TRIALING]
    assert set(ranked[:5]) == LIVE


owners = st.builds(
    lambda key, is_org: Owner(org_id=key if is_org else None, user_id=None if is_org else key),
    st.uuids(),
    st.booleans(),
)
orders = st.tuples(owners, st.booleans(), st.integers(1, 3), dictionaries)


def key_of(order: tuple[Owner, bool, int, dict[str, str]]) -> str:
    owner, livemode, generation, params = order
    return rules.idempotency_key(owner, livemode=livemode, generation=generation, params=params)


@given(orders, orders)
def test_a_key_is_the_same_for_the_same_creation_and_for_no_other(
    one: tuple[Owner, bool, int, dict[str, str]], two: tuple[Owner, bool, int, dict[str, str]]
) -> None:
    """T4: every retry sends the same key; another owner, mode, generation or wish another one."""
    assert (key_of(one) == key_of(two)) == (one == two)
    assert key_of(one) == key_of((one[0], one[1], one[2], dict(reversed(one[3].items()))))
    assert len(key_of(one)) <= 255


@given(owners)
def test_an_owner_is_read_back_from_its_name(owner: Owner) -> None:
    assert Owner.named(str(owner)) == owner


@pytest.mark.parametrize("text", ["", "org", "org:", "org:7", f"team:{UUID(int=7)}", "user:\x00"])
def test_what_names_no_owner_is_nobody(text: str) -> None:
    assert Owner.named(text) is None


@pytest.mark.parametrize("keys", [(None, None), (UUID(int=1), UUID(int=2))])
def test_an_owner_is_an_organization_or_a_user_and_not_both(
    keys: tuple[UUID | None, UUID | None],
) -> None:
    """A6: a customer can belong to an organization."""
    with pytest.raises(ValueError, match="not both"):
        Owner(org_id=keys[0], user_id=keys[1])


ORIGINS = ("https://app.test", "http://localhost:3000")


@pytest.mark.parametrize(
    "address",
    [
        "https://app.test",
        "https://app.test/",
        "https://app.test/paid?session_id={CHECKOUT_SESSION_ID}#end",
        "HTTPS://App.Test/x",
        "http://localhost:3000/back",
        "https://app.test/\\evil.test",
        "https://app.test/?next=https://evil.test",
    ],
)
def test_our_own_pages_are_allowed(address: str) -> None:
    assert rules.is_allowed(address, ORIGINS)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/paid",
        "//app.test/paid",
        "//evil.test",
        "app.test/paid",
        "https:app.test",
        "https:///app.test",
        "https:\\\\app.test",
        "http://app.test",
        "https://app.test:8443/",
        "https://app.test:443/",
        "http://localhost/back",
        "https://localhost:3000/back",
        "https://evil.test/https://app.test",
        "https://evil.test#https://app.test",
        "https://app.test.evil.test/",
        "https://evilapp.test/",
        "https://app.test@evil.test/",
        "https://app.test:x@evil.test/",
        "https://evil.test\\@app.test/",
        "https://app.test\\.evil.test/",
        "https://app.test\\@evil.test/",
        "https://app.te\nst/",
        "https://app.test\n.evil.test/",
        "\thttps://app.test/",
        "https://app.test/\x00",
        "https://app.test/\r\nLocation: https://evil.test",
        "https://[app.test/",
        "https://a\u2100b.test/",
        "https://app\u3002test/",
        "javascript:alert(1)",
        "javascript://app.test/%0aalert(1)",
        "data:text/html,x",
        "ftp://app.test/",
    ],
)
def test_every_other_address_is_refused(address: str) -> None:
    assert not rules.is_allowed(address, ORIGINS)


@given(st.text(), st.sampled_from(["", "https://", "https://app.test", "https://app.test@"]))
def test_an_allowed_address_begins_with_an_origin_of_ours_whatever_is_asked(
    text: str, start: str
) -> None:
    address = start + text
    if rules.is_allowed(address, ORIGINS):
        after = address[len("https://app.test") :]
        assert address.lower().startswith("https://app.test")
        assert after[:1] in {"", "/", "?", "#"}


def without_time(account: Account) -> tuple[object, ...]:
    return (
        account.profile,
        sorted(account.subscriptions, key=lambda s: s.id),
        sorted((e.lookup_key, e.feature_id) for e in account.entitlements),
        sorted(account.payment_methods, key=lambda m: m.id),
    )


@given(accounts)
def test_no_difference_gives_no_words(account: Account) -> None:
    later = replace(account, looked_at=account.looked_at + timedelta(days=1))
    turned = replace(later, subscriptions=later.subscriptions[::-1])

    assert rules.story(account, turned) == []


@given(accounts, accounts, st.data())
def test_no_difference_goes_without_words(
    before: Account, other: Account, data: st.DataObject
) -> None:
    """A4: every change is in the audit log."""
    part = data.draw(
        st.sampled_from(["profile", "subscriptions", "entitlements", "payment_methods"])
    )
    after = replace(before, **{part: getattr(other, part)})
    if before.profile is None and part == "profile":
        return  # a deleted customer never comes back

    assert bool(rules.story(before, after)) == (without_time(before) != without_time(after))


@given(subscriptions(), subscriptions(), st.data())
def test_no_field_of_a_subscription_changes_without_words(
    old: Subscription, other: Subscription, data: st.DataObject
) -> None:
    """A4: grace and the gate stand on these fields, so a change of any must be told."""
    name = data.draw(st.sampled_from([f.name for f in fields(Subscription) if f.name != "id"]))
    new = replace(old, **{name: getattr(other, name)})
    before, after = (an_account(subscriptions=(s,)) for s in (old, new))

    assert bool(rules.story(before, after)) == (old != new)


@given(accounts, accounts)
def test_the_same_difference_gives_the_same_words(before: Account, after: Account) -> None:
    turned = replace(after, subscriptions=after.subscriptions[::-1])

    assert rules.story(before, after) == rules.story(before, turned)


@given(accounts)
def test_the_story_never_holds_personal_data(account: Account) -> None:
    person = account.profile
    secret = replace(person, email="ada@secret", name="Ada Secret") if person else None

    story = rules.story(account, replace(account, profile=secret))

    assert "secret" not in repr(story).lower()


def told(old: Sequence[Subscription], new: Sequence[Subscription]) -> list[str]:
    before = an_account(subscriptions=tuple(old))
    return [what for what, _ in rules.story(before, an_account(subscriptions=tuple(new)))]


def test_each_turn_of_a_subscription_has_its_own_words() -> None:
    sub = a_subscription()
    ending = replace(sub, cancel_at_period_end=True)
    late = replace(sub, status=Status.PAST_DUE, past_due_since=NOON)

    assert told([], [sub]) == ["subscription.started"]
    assert told([sub], [ending]) == ["subscription.cancel_scheduled"]
    assert told([ending], [sub]) == ["subscription.cancel_taken_back"]
    assert told([sub], [late]) == ["subscription.status_changed"]
    assert told([sub], [replace(sub, collection_paused=True)]) == ["subscription.collection_paused"]
    assert told([late], [replace(late, past_due_since=None)]) == ["subscription.updated"]
    assert told([sub], []) == ["subscription.gone"]


def test_what_ends_with_a_deleted_customer_is_told_beside_it() -> None:
    """A4: the gate closes here, so the log must say why."""
    ended = replace(a_subscription(), status=Status.CANCELED)
    before = an_account(subscriptions=(a_subscription(),))
    after = an_account(profile=None, subscriptions=(ended,))

    words = [action for action, _ in rules.story(before, after)]
    assert words == ["customer.deleted", "subscription.status_changed"]


def test_a_second_live_subscription_is_told_once() -> None:
    """Pain 15 (adcp#3171): double billing is found where it could not be prevented."""
    one, two = a_subscription(), a_subscription(id="sub_2", status=Status.PAST_DUE)

    assert "subscription.duplicate_found" in told([one], [one, two])
    assert told([one, two], [one, two]) == []
    assert "subscription.duplicate_found" not in told(
        [one], [replace(one, status=Status.CANCELED), two]
    )


@given(st.timedeltas(timedelta(0), timedelta(days=3)))
def test_a_key_is_trusted_for_less_than_the_day_that_stripe_keeps_it(age: timedelta) -> None:
    fresh = rules.is_key_fresh(NOON, NOON + age)

    assert not fresh or age < timedelta(hours=24)
    assert fresh or age > timedelta(hours=22)


def test_a_customer_is_ours_by_owner_and_generation_and_while_it_lives() -> None:
    ours = {"metadata": {"tenure_owner": str(ORG), "tenure_generation": "2"}}
    other = Owner(org_id=UUID(int=1), user_id=None)

    assert rules.is_ours(ours, ORG, 2)
    assert not rules.is_ours(ours, ORG, 1)
    assert not rules.is_ours(ours, other, 2)
    assert not rules.is_ours({**ours, "deleted": True}, ORG, 2)
    assert not rules.is_ours({"metadata": None}, ORG, 2)
