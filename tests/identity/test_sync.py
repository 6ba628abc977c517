"""Looks and events of one provider: what is believed, what is asked, what is kept of it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tenure.base.db import Db, Scope
from tenure.identity import decisions
from tenure.identity.act import Policy
from tenure.identity.errors import ProviderFailed, ProviderKeyRefused, TooManyMissing
from tenure.identity.model import Status
from tenure.journal.model import Knock, Subject
from tests.sandbox.clerk.inside import START

from .builders import rows
from .mirror import Clerk, Mirror, a_clerk, a_workos_mirror


@pytest.fixture
async def clerk(db: Db) -> AsyncIterator[Clerk]:
    async with a_clerk(db) as made:
        yield made


def backwards(knocks: Sequence[Knock]) -> Sequence[Knock]:
    return knocks[::-1]


def thrice(knocks: Sequence[Knock]) -> Sequence[Knock]:
    return [*knocks, *knocks[::-1], *knocks]


def by_kind(knocks: Sequence[Knock]) -> Sequence[Knock]:
    """Memberships before the people and organizations they name."""
    return sorted(knocks, key=lambda k: (not k.kind.startswith("organizationM"), k.event_id))


ORDERS = pytest.mark.parametrize("order", [list, backwards, thrice, by_kind])
ASKING = pytest.mark.parametrize("asks", [True, False], ids=["asked", "told"])


async def live(clerk: Clerk) -> None:
    """Let everything happen at Clerk that can happen to users, organizations and members."""
    home, other, doomed = [await clerk.an_org(name) for name in ("Home", "Other", "Doomed")]
    ada, bob, eve = [await clerk.a_user(name) for name in ("ada", "bob", "eve")]
    for org in (home, other, doomed):
        for user in (ada, bob):
            clerk.tick()
            await clerk.join(org, user)
    await clerk.join(home, eve)
    for role in ("admin", "member", "admin"):
        clerk.tick()
        await clerk.set_role(home, ada, role)
    clerk.tick()
    await clerk.leave(home, bob)
    clerk.tick()
    await clerk.join(home, bob, "admin")  # under a new id
    await clerk.leave(other, bob)
    clerk.tick()
    await clerk.room.ask("PATCH", f"/v1/organizations/{home}", name="Home again")
    await clerk.room.ask("PATCH", f"/v1/users/{ada}", first_name="Augusta")
    await clerk.room.post(f"/v1/users/{bob}/ban")
    clerk.tick()
    await clerk.room.ask("DELETE", f"/v1/users/{eve}")
    await clerk.room.ask("DELETE", f"/v1/organizations/{doomed}")


@ASKING
@ORDERS
async def test_events_in_any_order_make_our_tables_equal_to_the_provider(
    db: Db,
    asks: bool,  # noqa: FBT001 (a parameter of the test)
    order: object,
) -> None:
    """S2, M7: users, organizations and memberships, with an API key and without one."""
    async with a_clerk(db, asks=asks) as clerk:
        await live(clerk)
        await clerk.follow(order)  # type: ignore[arg-type]
        await clerk.wait_over()
        await clerk.work()

        await clerk.check()


@ASKING
async def test_events_taken_in_as_they_happen_lead_to_the_same(
    db: Db,
    asks: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """S2: the usual way: each event is followed before the next one."""
    async with a_clerk(db, asks=asks) as clerk:
        pair = await clerk.a_member()
        org, user = pair.split("/")
        await clerk.follow()
        await clerk.check()
        for role in ("admin", "member"):
            clerk.tick()
            await clerk.set_role(org, user, role)
            await clerk.follow()
            await clerk.check()
        clerk.tick()
        await clerk.leave(org, user)
        await clerk.follow()
        await clerk.check()
        clerk.tick()
        await clerk.join(org, user)
        await clerk.follow()
        await clerk.check()

        seen = await rows(db, "SELECT generation FROM tenure.memberships")
        assert seen == [{"generation": 2}]


@ASKING
async def test_workos_members_are_deactivated_reactivated_and_removed(
    db: Db,
    clock: object,
    asks: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """M6: the lifecycle of WorkOS, whose inactive members keep their id."""
    async with a_workos_mirror(db, clock, asks=asks) as workos:  # type: ignore[arg-type]
        scene = workos.scene
        org, user = await scene.an_org(), await scene.a_user()
        member = await scene.a_member(org, user)
        path = f"/user_management/organization_memberships/{member}"
        await workos.follow()
        await workos.check()
        for act in ("deactivate", "reactivate", "deactivate"):
            workos.tick()
            await scene.ask("PUT", f"{path}/{act}")
            await workos.follow()
            await workos.check()
        workos.tick()
        await scene.ask("DELETE", path)
        await workos.follow()
        await workos.check()
        workos.tick()
        await scene.a_member(org, user)
        await workos.follow()
        await workos.check()


async def _role(mirror: Mirror) -> str:
    (row,) = await rows(mirror.db, "SELECT role FROM tenure.memberships")
    return row["role"]


async def test_a_stale_answer_is_ignored_and_asked_for_again(clerk: Clerk) -> None:
    """M7: PaperDeck#223: a replica that lags shows an older version: it is no news."""
    pair = await clerk.a_member()
    org, user = pair.split("/")
    await clerk.follow()
    clerk.tick()
    await clerk.set_role(org, user, "admin")
    await clerk.follow()

    await clerk.fail("stale", match=f"/v1/organizations/{org}/memberships")
    await clerk.mark("membership", pair)
    await clerk.work()

    assert await _role(clerk) == "admin"
    assert (await clerk.made("membership", pair))[-1] == ("ignored", "older_than_known")
    assert await clerk.due() == {f"membership {pair}"}  # later, by itself
    await clerk.wait_over()
    await clerk.work()
    assert (await clerk.made("membership", pair))[-1] == ("unchanged", "unchanged")
    assert await clerk.due() == set()


async def test_the_longer_an_answer_stays_strange_the_later_it_is_asked_for_again(
    clerk: Clerk,
) -> None:
    """M7: a provider that never gets well is not asked in a circle."""
    pair = await clerk.a_member()
    org, user = pair.split("/")
    await clerk.follow()
    clerk.tick()
    await clerk.set_role(org, user, "admin")
    await clerk.follow()
    await clerk.fail("stale", match=f"/v1/organizations/{org}/memberships", count=-1)

    waits = []
    for _ in range(4):
        await clerk.mark("membership", pair)
        await clerk.wait_over()
        await clerk.work()
        (row,) = await rows(
            clerk.db,
            "SELECT retry_at - marked_at AS wait FROM tenure.subjects WHERE id = %s",
            pair,
        )
        waits.append(row["wait"])

    assert waits == sorted(waits)
    assert waits[-1] > 3 * waits[0]
    assert waits[-1] <= timedelta(minutes=5)


async def test_a_signed_delete_is_final_although_the_provider_still_lists_her(
    clerk: Clerk,
) -> None:
    """M7: openwork#3243: the event is believed, the lagging list is not."""
    pair = await clerk.a_member()
    org, user = pair.split("/")
    await clerk.follow()
    clerk.tick()
    await clerk.leave(org, user)
    await clerk.fail("stale", match=f"/v1/organizations/{org}/memberships")

    await clerk.follow()

    made = await clerk.made("membership", pair)
    assert made[-2:] == [("applied", "deleted"), ("ignored", "deleted_for_good")]
    assert (await clerk.state())["memberships"] == set()
    await clerk.wait_over()
    await clerk.work()
    await clerk.check()


async def test_a_deleted_user_stays_deleted_although_the_provider_still_shows_her(
    clerk: Clerk,
) -> None:
    """M7: the same of a user, and with her goes all that she had."""
    pair = await clerk.a_member()
    _, user = pair.split("/")
    await clerk.follow()
    clerk.tick()
    await clerk.room.ask("DELETE", f"/v1/users/{user}")
    await clerk.fail("stale", match=f"/v1/users/{user}")

    await clerk.follow()

    assert (await clerk.made("user", user))[-2:] == [
        ("applied", "deleted"),
        ("ignored", "deleted_for_good"),
    ]
    await clerk.wait_over()
    await clerk.work()
    await clerk.check()


@pytest.mark.parametrize("kind", ["user", "org", "membership"])
async def test_whom_the_provider_does_not_have_is_dropped_although_no_event_came(
    clerk: Clerk, kind: str
) -> None:
    """M7: a lost delete: the 404 of a look by name is enough."""
    pair = await clerk.a_member()
    org, user = pair.split("/")
    await clerk.follow()
    name, path = {
        "user": (user, f"/v1/users/{user}"),
        "org": (org, f"/v1/organizations/{org}"),
        "membership": (pair, f"/v1/organizations/{org}/memberships/{user}"),
    }[kind]
    await clerk.room.ask("DELETE", path)  # and nobody hears of it

    await clerk.mark(kind, name)
    await clerk.work()

    assert (await clerk.made(kind, name))[-1] == ("applied", "missing_at_provider")
    await clerk.check()


async def test_a_failing_provider_costs_nobody_anything(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M7: an error is no absence."""
    monkeypatch.setattr("tenure.base.http.FIRST_WAIT", 0.001)
    pair = await clerk.a_member()
    await clerk.follow()
    before = await clerk.state()
    await clerk.fail("500", count=-1)
    await clerk.mark("membership", pair)

    with pytest.raises(ProviderFailed):
        await clerk.work()

    assert await clerk.state() == before


async def test_a_key_that_is_refused_costs_nobody_anything(clerk: Clerk) -> None:
    """M7: a revoked API key is no absence either."""
    pair = await clerk.a_member()
    await clerk.follow()
    before = await clerk.state()
    clerk.room.clerk.world.state.secret_key = "sk_test_rolled"  # at Clerk, and not here
    await clerk.mark("membership", pair)
    await clerk.mark("user", pair.partition("/")[2])

    with pytest.raises(ProviderKeyRefused):
        await clerk.work()

    assert await clerk.state() == before


@pytest.mark.parametrize("kind", ["user", "org", "membership"])
async def test_a_key_of_another_instance_stops_at_the_absence_limit(
    clerk: Clerk, kind: str
) -> None:
    """M7, M10: the provider suddenly lacks everybody: after so many nobody is dropped any more."""
    pairs = [await clerk.a_member(f"user{number}") for number in range(6)]
    await clerk.follow()
    place = {"org": slice(0, 1), "user": slice(1, 2)}
    names = [pair if kind == "membership" else pair.split("/")[place[kind]][0] for pair in pairs]

    async with a_clerk(clerk.db, clock=clerk.clock, policy=Policy(absence_limit=2)) as other:
        for name in names:
            await other.mark(kind, name)
            try:
                await other.work()
            except TooManyMissing as exc:
                assert exc.facts["provider"] == "clerk"  # noqa: PT017 (only some raise)
        gone = [
            name
            for name in names
            if ("applied", "missing_at_provider") in await other.made(kind, name)
        ]
        still_due = await other.due()

    assert len(gone) == 2
    assert {f"{kind} {name}" for name in names if name not in gone} <= still_due
    assert len((await clerk.state())["memberships"]) == 4


async def test_after_a_day_absences_count_anew(clerk: Clerk) -> None:
    """M10: a few each day are how things go."""
    users = [await clerk.a_user(f"user{number}") for number in range(3)]
    await clerk.follow()
    strict = replace(clerk, policy=Policy(absence_limit=1))
    for user in users:
        await clerk.room.ask("DELETE", f"/v1/users/{user}")
        await strict.mark("user", user)
        await strict.work()
        clerk.tick(86_401)

    await clerk.check()


async def test_absences_that_an_event_told_of_do_not_count(clerk: Clerk) -> None:
    """M10: a company may delete as many as it likes, while the events come."""
    users = [await clerk.a_user(f"user{number}") for number in range(4)]
    await clerk.follow()
    for user in users:
        await clerk.room.ask("DELETE", f"/v1/users/{user}")

    await replace(clerk, policy=Policy(absence_limit=1)).follow()

    await clerk.check()


async def test_members_whom_we_removed_ourselves_do_not_count_as_missing(clerk: Clerk) -> None:
    """M10: fifty-one removals in a day, looked at before their events come, are no accident."""
    org = await clerk.an_org()
    for number in range(4):
        await clerk.a_member(f"user{number}", org)
    await clerk.follow()
    ours = replace(clerk, policy=Policy(absence_limit=1))
    members = await rows(clerk.db, "SELECT org_id, user_id FROM tenure.memberships")
    for member in members:
        scope = Scope(org_id=member["org_id"], user_id=None)
        await ours.wishes.remove(scope, member["user_id"], actor="user:boss")
    await ours.work()

    assert (await clerk.truth())["memberships"] == set()
    await clerk.check()


async def test_whoever_is_only_named_is_asked_for(clerk: Clerk) -> None:
    """S2: a membership that comes alone brings its user and its organization with it."""
    pair = await clerk.a_member()
    org, user = pair.split("/")
    clerk.heard = len(clerk.letters())  # every event lost
    await clerk.mark("membership", pair)
    await clerk.work()

    await clerk.check()
    assert await clerk.made("user", user) == [("applied", "changed")]
    assert await clerk.made("org", org) == [("applied", "changed")]
    assert await clerk.due() == set()


async def test_what_was_decided_is_kept_with_why_and_by_which_event(clerk: Clerk) -> None:
    """M7: a look at the table explains a row."""
    pair = await clerk.a_member()
    org, user = pair.split("/")
    await clerk.follow()
    clerk.tick()
    await clerk.leave(org, user)
    await clerk.follow()

    async with clerk.db.statement() as tx:
        kept = await decisions.list_of_subject(tx, Subject("clerk.membership", pair))
        org_id, user_id = kept[0].org_id, kept[0].user_id
        of_org = await decisions.list_of_owner(tx, org_id=org_id)
        of_user = await decisions.list_of_owner(tx, user_id=user_id)

    assert [(one.verdict, one.reason) for one in kept] == [
        ("applied", "joined"),
        ("applied", "deleted"),
        ("unchanged", "unchanged"),
    ]
    assert kept[0].details == {
        "id": kept[0].details["id"],
        "role": "member",
        "status": Status.ACTIVE.value,
    }
    deleted = clerk.letters()[-1][0]
    assert kept[1].details["event"] == deleted
    assert [one.seq for one in kept] == [1, 2, 2]
    assert org_id is not None
    assert user_id is not None
    assert kept[-1] in of_org
    assert kept[-1] in of_user


async def test_a_session_that_ended_is_noted_once(clerk: Clerk) -> None:
    """S2, M6: its tokens are refused from then on."""
    user = await clerk.a_user()
    session = (await clerk.room.post("/v1/sessions", user_id=user))["id"]
    await clerk.follow()
    await clerk.room.post(f"/v1/sessions/{session}/revoke")
    await clerk.hear()
    clerk.heard -= 1
    await clerk.follow()  # and once more

    kept = await rows(clerk.db, "SELECT session_id, user_id FROM tenure.revoked_sessions")
    assert kept == [{"session_id": session, "user_id": user}]
    told = await rows(
        clerk.db,
        "SELECT payload FROM tenure.news WHERE payload ->> 'what' = '[\"session\"]'",
    )
    assert len(told) == 1


async def test_a_banned_user_is_blocked_until_she_is_not(clerk: Clerk) -> None:
    """S2: and it is told in the audit log."""
    user = await clerk.a_user()
    await clerk.follow()
    for act in ("ban", "unban"):
        clerk.tick()
        await clerk.room.post(f"/v1/users/{user}/{act}")
        await clerk.follow()
        await clerk.check()

    told = await rows(
        clerk.db, "SELECT action FROM tenure.audit_log WHERE action LIKE 'user.%%' ORDER BY seq"
    )
    assert [line["action"] for line in told] == ["user.blocked", "user.unblocked"]


@pytest.mark.parametrize(("deletion", "named"), [("anonymise", False), ("keep", True)])
async def test_a_deleted_user_is_forgotten_or_kept_as_the_company_decided(
    clerk: Clerk,
    deletion: str,
    named: bool,  # noqa: FBT001 (a column of the table)
) -> None:
    """M10: TENURE_USER_DELETION; the row itself stays, for what she has written."""
    user = await clerk.a_user()
    await clerk.follow()
    await clerk.room.ask("DELETE", f"/v1/users/{user}")
    await replace(clerk, policy=Policy(deletion=deletion)).follow()  # type: ignore[arg-type]

    (row,) = await rows(clerk.db, "SELECT email, name, deleted_at, valid_after FROM tenure.users")
    assert (row["deleted_at"], row["valid_after"]) == (START, START)
    assert (row["email"] is not None, row["name"] is not None) == (named, named)


async def test_of_an_event_without_a_key_the_newest_word_counts(db: Db) -> None:
    """S2: payload mode: what events say is all there is, and nobody is asked."""
    async with a_clerk(db, asks=False) as clerk:
        pair = await clerk.a_member()
        org, user = pair.split("/")
        clerk.tick()
        await clerk.set_role(org, user, "admin")
        await clerk.hear(backwards)
        await clerk.room.ask("DELETE", "/_sandbox/requests")
        await clerk.work()

        assert await _role(clerk) == "admin"
        asked = (await clerk.room.get("/_sandbox/requests"))["by_path"]
        assert [path for path in asked if "/v1/" in path] == []
        await clerk.check()
