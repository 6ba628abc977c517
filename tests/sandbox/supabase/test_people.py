"""People at the pretended Supabase Auth, through the official SDK and in the database."""

from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from supabase_auth import SyncGoTrueClient
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

from tenure.base.clock import StoppedClock
from tenure.sandbox.supabase.app import Running, running_supabase
from tenure.sandbox.supabase.database import ForeignAuth, prepare

ADA = {"email": "Ada@example.com", "password": "lovelace"}


def row(supabase: Running, user_id: str) -> dict[str, Any]:
    with psycopg.connect(supabase.database_url, row_factory=dict_row) as conn:
        found = conn.execute("SELECT * FROM auth.users WHERE id = %s", [user_id]).fetchone()
    return found or {}


def refused(call: Any, *args: Any, **named: Any) -> tuple[int, str | None]:
    with pytest.raises(AuthApiError) as caught:
        call(*args, **named)
    return caught.value.status, caught.value.code


def test_who_signs_up_has_a_row_and_a_session(sdk: SyncGoTrueClient, supabase: Running) -> None:
    """B5"""
    said = sdk.sign_up(ADA | {"options": {"data": {"name": "Ada"}}})

    assert said.user
    assert said.session
    kept = row(supabase, said.user.id)
    assert (kept["email"], kept["aud"], kept["role"]) == (
        "ada@example.com", "authenticated", "authenticated"
    )  # fmt: skip
    assert kept["raw_user_meta_data"] == {"name": "Ada"}
    assert kept["raw_app_meta_data"] == {"provider": "email", "providers": ["email"]}
    assert kept["confirmed_at"] == kept["email_confirmed_at"] == supabase.world.clock.now()
    assert "lovelace" not in kept["encrypted_password"]
    (identity,) = said.user.identities or []
    assert identity.identity_data["email"] == "ada@example.com"


def test_signing_in_asks_for_the_password(sdk: SyncGoTrueClient, clock: StoppedClock) -> None:
    sdk.sign_up(ADA)
    clock.tick(timedelta(minutes=1))
    said = sdk.sign_in_with_password(ADA)
    assert said.user
    assert said.user.last_sign_in_at == clock.now()
    assert refused(sdk.sign_in_with_password, ADA | {"password": "byron!"}) == (
        400, "invalid_credentials"
    )  # fmt: skip
    assert refused(sdk.sign_up, ADA) == (422, "user_already_exists")
    with pytest.raises(AuthWeakPasswordError) as weak:
        sdk.sign_up({"email": "bob@example.com", "password": "short"})
    assert weak.value.reasons == ["length"]


def test_whoever_gives_an_address_is_no_longer_anonymous(
    sdk: SyncGoTrueClient, supabase: Running
) -> None:
    said = sdk.sign_in_anonymously()
    assert said.user
    assert said.user.is_anonymous
    changed = sdk.update_user({"email": "new@example.com", "password": "lovelace"})
    assert changed.user.email == "new@example.com"
    assert not changed.user.is_anonymous
    assert not row(supabase, said.user.id)["is_anonymous"]
    assert sdk.sign_in_with_password({"email": "new@example.com", "password": "lovelace"}).user


def test_an_address_must_be_confirmed_where_the_project_wants_it(
    database: str, clock: StoppedClock
) -> None:
    with running_supabase(database, clock=clock, autoconfirm=False, anonymous=False) as supabase:
        base, headers = f"{supabase.url}/auth/v1", {"apikey": supabase.anon_key}
        with httpx.Client(base_url=base, headers=headers) as http:
            said = http.post("/signup", json=ADA)
            early = http.post("/token?grant_type=password", json=ADA)
            nobody = http.post("/signup", json={})
            key = {"authorization": f"Bearer {supabase.service_role_key}"}
            path = f"/admin/users/{said.json()['id']}"
            assert http.put(path, json={"email_confirm": True}, headers=key).status_code == 200
            late = http.post("/token?grant_type=password", json=ADA)
    assert "access_token" not in said.json()
    assert (early.status_code, early.json()["error_code"]) == (400, "email_not_confirmed")
    assert (nobody.status_code, nobody.json()["error_code"]) == (422, "anonymous_provider_disabled")
    assert late.status_code == 200


def test_an_admin_makes_reads_lists_and_changes_users(
    admin_sdk: SyncGoTrueClient, supabase: Running, clock: StoppedClock
) -> None:
    """B5"""
    users = admin_sdk.admin
    made = users.create_user(
        {
            "email": "ada@example.com",
            "email_confirm": True,
            "user_metadata": {"name": "Ada", "kept": 1},
            "app_metadata": {"plan": "pro"},
        }
    ).user
    assert made.app_metadata == {"plan": "pro", "provider": "email", "providers": ["email"]}
    clock.tick(timedelta(seconds=1))
    changed = users.update_user_by_id(made.id, {"user_metadata": {"name": "Augusta"}}).user
    assert changed.user_metadata == {"name": "Augusta", "kept": 1}
    assert changed.updated_at == clock.now()
    assert users.get_user_by_id(made.id).user == changed
    assert refused(users.create_user, {"email": "ADA@example.com"}) == (422, "email_exists")
    clock.tick(timedelta(seconds=1))
    users.create_user({"phone": "+15550100"})
    assert [user.id == made.id for user in users.list_users()] == [False, True]
    assert [user.id for user in users.list_users(page=2, per_page=1)] == [made.id]
    assert row(supabase, made.id)["updated_at"] == clock.now() - timedelta(seconds=1)
    missing = "00000000-0000-4000-8000-000000000000"
    assert refused(users.get_user_by_id, missing) == (404, "user_not_found")


def test_lists_say_how_many_there_are(http: httpx.Client, supabase: Running) -> None:
    key = {"authorization": f"Bearer {supabase.world.kept.secret_key}"}
    for n in range(3):
        http.post("/admin/users", json={"email": f"{n}@example.com"}, headers=key)
    page = http.get("/admin/users?page=1&per_page=2", headers=key)
    assert (page.headers["x-total-count"], len(page.json()["users"])) == ("3", 2)
    assert 'page=2&per_page=2>; rel="next"' in page.headers["link"]
    assert http.get("/admin/users?page=0", headers=key).status_code == 400


def test_a_ban_is_no_delete_and_can_end(
    admin_sdk: SyncGoTrueClient, sdk: SyncGoTrueClient, supabase: Running, clock: StoppedClock
) -> None:
    """M10"""
    said = sdk.sign_up(ADA)
    assert said.user
    users = admin_sdk.admin
    users.update_user_by_id(said.user.id, {"ban_duration": "1h30m"})
    assert row(supabase, said.user.id)["banned_until"] == clock.now() + timedelta(minutes=90)
    assert refused(sdk.sign_in_with_password, ADA) == (400, "user_banned")
    assert refused(sdk.refresh_session) == (400, "user_banned")
    users.update_user_by_id(said.user.id, {"ban_duration": "none"})
    assert sdk.sign_in_with_password(ADA).user
    bad = {"ban_duration": "soon"}
    assert refused(users.update_user_by_id, said.user.id, bad) == (400, "validation_failed")


def test_a_soft_delete_keeps_a_row_in_which_nobody_is_recognised(
    admin_sdk: SyncGoTrueClient, sdk: SyncGoTrueClient, supabase: Running, clock: StoppedClock
) -> None:
    """M10"""
    said = sdk.sign_up(ADA | {"options": {"data": {"name": "Ada"}}})
    assert said.user
    admin_sdk.admin.delete_user(said.user.id, should_soft_delete=True)
    kept = row(supabase, said.user.id)
    assert kept["deleted_at"] == clock.now()
    assert (kept["raw_user_meta_data"], kept["encrypted_password"]) == ({}, "")
    assert "ada" not in kept["email"]
    assert refused(sdk.sign_in_with_password, ADA) == (400, "invalid_credentials")
    assert sdk.sign_up(ADA).user, "the address is free again"


def test_a_hard_delete_takes_sessions_along(
    admin_sdk: SyncGoTrueClient, sdk: SyncGoTrueClient, supabase: Running
) -> None:
    said = sdk.sign_up(ADA)
    assert said.user
    assert said.session
    admin_sdk.admin.delete_user(said.user.id)
    assert row(supabase, said.user.id) == {}
    assert refused(sdk.get_user, said.session.access_token) == (403, "user_not_found")
    assert refused(sdk.refresh_session) == (400, "refresh_token_not_found")


def test_a_foreign_key_can_stop_a_delete(
    admin_sdk: SyncGoTrueClient, sdk: SyncGoTrueClient, supabase: Running
) -> None:
    """M10: supabase#30879, supabase/auth#1033: `Database error deleting user`."""
    said = sdk.sign_up(ADA)
    assert said.user
    with psycopg.connect(supabase.database_url) as conn:
        conn.execute("CREATE TABLE public.notes (author uuid REFERENCES auth.users)")
        conn.execute("INSERT INTO public.notes VALUES (%s)", [said.user.id])
    assert refused(admin_sdk.admin.delete_user, said.user.id) == (500, "unexpected_failure")


def test_a_failing_trigger_breaks_a_sign_up(sdk: SyncGoTrueClient, supabase: Running) -> None:
    """M10: supabase/auth#271: `Database error saving new user`; triggers run as the auth role."""
    with psycopg.connect(supabase.database_url) as conn:
        conn.execute("CREATE TABLE public.seen (who text)")
        conn.execute(
            "CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NEW; END$$"
        )
        conn.execute(
            "CREATE TRIGGER see AFTER INSERT ON auth.users"
            " FOR EACH ROW EXECUTE FUNCTION public.see()"
        )
    with pytest.raises(AuthApiError, match="Database error saving new user"):
        sdk.sign_up(ADA)
    with psycopg.connect(supabase.database_url) as conn:
        conn.execute("GRANT INSERT ON public.seen TO supabase_auth_admin")
    sdk.sign_up(ADA)
    with psycopg.connect(supabase.database_url) as conn:
        assert conn.execute("SELECT who FROM public.seen").fetchall() == [("supabase_auth_admin",)]


def test_preparing_twice_is_fine_and_a_real_project_is_left_alone(database: str) -> None:
    prepare(database)
    prepare(database)
    with psycopg.connect(database) as conn:
        conn.execute("COMMENT ON SCHEMA auth IS NULL")
    with pytest.raises(ForeignAuth):
        prepare(database)


def test_rows_are_hidden_from_all_but_the_owner_as_in_a_real_project(database: str) -> None:
    """S2: whom somebody lets read auth.users by a GRANT alone sees no rows."""
    prepare(database)
    with psycopg.connect(database) as conn:
        conn.execute("SET LOCAL ROLE supabase_auth_admin")
        conn.execute("INSERT INTO auth.users (id) VALUES (gen_random_uuid())")
        conn.execute("GRANT SELECT ON auth.users TO authenticated, service_role")
        seen: dict[str, int] = {}
        for role in ("supabase_auth_admin", "service_role", "authenticated"):
            conn.execute("SELECT set_config('role', %s, true)", [role])
            seen[role] = conn.execute("SELECT id FROM auth.users").rowcount
    assert seen == {"supabase_auth_admin": 1, "service_role": 1, "authenticated": 0}


def test_the_functions_read_the_claims_of_a_request(database: str) -> None:
    """S2: row-level security asks auth.uid() and auth.jwt()."""
    prepare(database)
    me = "7f9c1e2a-0000-4000-8000-000000000001"
    claims = f'{{"sub": "{me}", "role": "authenticated", "email": "ada@example.com"}}'
    with psycopg.connect(database) as conn:
        conn.execute("SET LOCAL ROLE authenticated")
        conn.execute("SELECT set_config('request.jwt.claims', %s, true)", [claims])
        seen = conn.execute(
            "SELECT auth.uid()::text, auth.role(), auth.email(), auth.jwt() ->> 'sub'"
        ).fetchone()
        assert seen == (me, "authenticated", "ada@example.com", me)
        conn.execute("SELECT set_config('request.jwt.claims', '{\"sub\": \"user_1\"}', true)")
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            conn.execute("SELECT auth.uid()")
