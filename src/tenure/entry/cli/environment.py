"""The settings of this process: from the environment, or from ./.env."""

import os
from pathlib import Path

from tenure.base import settings
from tenure.base.settings import Need, Settings


def settings_for(need: Need | None = None) -> Settings:
    """Load what a command needs.

    Errors: BadSettings.
    """
    return settings.load(os.environ, Path(".env"), need=need)
