"""The port that a command was told to listen on."""

from tenure.base.errors import TenureError
from tenure.entry.local.ports import is_free


class PortInUse(TenureError):
    """Somebody listens already on the port of this command."""

    code = "cli.port_in_use"
    hint = "Stop whoever listens there, or choose another: --port; TENURE_PORT for `tenure serve`."


def claim(port: int, called: str = "") -> None:
    """See that the port can be had, before anything is said or begun.

    Errors: PortInUse.
    """
    if not is_free(port):
        name = f" ({called})" if called else ""
        raise PortInUse(f"somebody listens on port {port}{name} already")
