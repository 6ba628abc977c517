import os
from collections.abc import Iterator

import httpx
import pytest
from supabase_auth import SyncGoTrueClient

from tenure.base.clock import StoppedClock
from tenure.sandbox.supabase.app import Running, running_supabase
from tests.conftest import recreate


@pytest.fixture
def database(admin: str) -> str:
    name = f"tenure_supabase_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    return recreate(admin, name, "template0")


@pytest.fixture
def supabase(database: str, clock: StoppedClock) -> Iterator[Running]:
    with running_supabase(database, clock=clock) as running:
        yield running


@pytest.fixture
def http(supabase: Running) -> Iterator[httpx.Client]:
    """A client that shows the project's public key, and speaks of `/auth/v1`."""
    headers = {"apikey": supabase.anon_key}
    with httpx.Client(base_url=f"{supabase.url}/auth/v1", headers=headers) as http:
        yield http


@pytest.fixture
def control(supabase: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{supabase.url}/_sandbox") as http:
        yield http


@pytest.fixture
def sdk(supabase: Running) -> Iterator[SyncGoTrueClient]:
    """The official client of a browser or an application."""
    with a_client(supabase, supabase.anon_key) as client:
        yield client


@pytest.fixture
def admin_sdk(supabase: Running) -> Iterator[SyncGoTrueClient]:
    """The official client with the service key."""
    with a_client(supabase, supabase.service_role_key) as client:
        yield client


def a_client(supabase: Running, key: str) -> SyncGoTrueClient:
    return SyncGoTrueClient(
        url=f"{supabase.url}/auth/v1",
        headers={"apikey": key, "Authorization": f"Bearer {key}"},
        auto_refresh_token=False,
        http_client=httpx.Client(),
    )
