"""The verifier against the pretended Supabase Auth, whose sessions the official SDK opens."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest

from tenure.base.clock import StoppedClock
from tenure.identity import errors
from tenure.identity.issuers import oidc, supabase
from tenure.identity.session import Verifier
from tenure.sandbox.supabase.app import Running, running_supabase
from tests.sandbox.supabase.conftest import a_client
from tests.sandbox.supabase.conftest import database as database  # noqa: PLC0414 (a fixture)

ADA = {"email": "ada@example.com", "password": "lovelace"}


@pytest.fixture
def project(database: str, clock: StoppedClock) -> Iterator[Running]:
    with running_supabase(database, clock=clock, algorithm="HS256") as running:
        yield running


@asynccontextmanager
async def verifying(
    project: Running, clock: StoppedClock, *, secret: str = ""
) -> AsyncIterator[Verifier]:
    issuer = supabase(project.url, jwt_secret=secret)
    async with (
        httpx.AsyncClient() as http,
        Verifier([issuer], clock=clock, http=http) as verifier,
    ):
        yield verifier


def token_of(project: Running, *, anonymous: bool = False) -> str:
    with a_client(project, project.anon_key) as sdk:
        said = sdk.sign_in_anonymously() if anonymous else sdk.sign_up(ADA)
        assert said.session
        return said.session.access_token


def another(project: Running) -> str:
    with a_client(project, project.anon_key) as sdk:
        said = sdk.sign_in_with_password(ADA)
        assert said.session
        return said.session.access_token


def rotate(project: Running, **how: object) -> None:
    httpx.post(f"{project.url}/_sandbox/rotate", json=how).raise_for_status()


async def test_a_project_moves_from_its_secret_to_keys_and_nobody_is_signed_out(
    project: Running, clock: StoppedClock
) -> None:
    """T6, B1, B5: HS256, then ES256, then RS256, with one session of each; one issuer name."""
    legacy = token_of(project)
    async with verifying(project, clock, secret=project.jwt_secret) as verifier:
        first = await verifier.verify(legacy)
        rotate(project, algorithm="ES256")
        elliptic = another(project)
        second = await verifier.verify(elliptic)
        clock.tick(timedelta(seconds=30))
        rotate(project, algorithm="RS256")
        third = await verifier.verify(another(project))
        assert first.user_id == second.user_id == third.user_id
        assert len({first.session_id, second.session_id, third.session_id}) == 3
    async with verifying(project, clock) as later:
        assert await later.verify(elliptic)
        with pytest.raises(errors.BadToken):
            await later.verify(legacy)


async def test_a_revoked_key_opens_nothing(project: Running, clock: StoppedClock) -> None:
    """B1"""
    rotate(project, algorithm="ES256")
    old = token_of(project)
    rotate(project, revoke=True)
    async with verifying(project, clock) as verifier:
        with pytest.raises(errors.BadToken):
            await verifier.verify(old)
        assert await verifier.verify(another(project))


async def test_the_keys_of_the_project_are_nobody(project: Running, clock: StoppedClock) -> None:
    """B1: anon and service_role are signed with the same secret as sessions are."""
    async with verifying(project, clock, secret=project.jwt_secret) as verifier:
        for key in (project.anon_key, project.service_role_key):
            with pytest.raises(errors.NotProven):
                await verifier.verify(key)
        with pytest.raises(errors.AnonymousUser):
            await verifier.verify(token_of(project, anonymous=True))


async def test_the_project_is_an_openid_issuer_too(project: Running, clock: StoppedClock) -> None:
    """T6: any issuer, found by its own configuration."""
    rotate(project, algorithm="ES256")
    issuer = oidc(f"{project.url}/auth/v1", ["authenticated"], algorithm="ES256")
    async with (
        httpx.AsyncClient() as http,
        Verifier([issuer], clock=clock, http=http) as verifier,
    ):
        who = await verifier.verify(token_of(project))
    assert (who.provider, who.role) == ("oidc", None)
