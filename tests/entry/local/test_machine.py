import os
import signal
from pathlib import Path

import pytest

from tenure.base import settings
from tenure.base.ids import CountedIds
from tenure.entry.local.home import Home
from tenure.entry.local.machine import Plan, environment, told
from tenure.entry.local.ports import Ports
from tenure.entry.local.stop import told_to_stop
from tenure.entry.local.who import KNOWN


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    home = Home(path=tmp_path)
    return Plan(home=home, ports=Ports(), secrets=home.secrets(CountedIds()), who=KNOWN["clerk"])


def test_the_service_is_told_of_this_world_and_of_nothing_else(plan: Plan) -> None:
    """B5: settings that lie about for another installation never reach the one that is tried."""
    outer = {
        "PATH": "/usr/bin",
        "DATABASE_URL": "postgresql://prod.example.com/app",
        "DATABASE_DIRECT_URL": "postgresql://prod.example.com/app",
        "WORKOS_API_KEY": "sk_x",
        "TENURE_HOME": "elsewhere",
        "PGSSLMODE": "require",
    }
    given = environment(plan, outer)
    assert given["PATH"] == "/usr/bin"
    assert given["DATABASE_URL"].startswith("postgresql://tenure_service:")
    assert not {"DATABASE_DIRECT_URL", "WORKOS_API_KEY", "TENURE_HOME", "PGSSLMODE"} & set(given)


def test_the_settings_of_this_world_are_complete(plan: Plan) -> None:
    found = settings.load(told(plan), need="serve")
    assert found.clerk_issuer == plan.site.url
    assert found.return_origins == ("http://localhost:3000", plan.service)
    assert not found.livemode


def test_being_told_to_stop_is_noted_and_obeyed_between_two_acts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with told_to_stop() as stop:
        stop.pause(0)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            stop.pause(0)
    assert signal.getsignal(signal.SIGTERM) is before
