"""What can go wrong with everything on this machine."""

from typing import ClassVar

from tenure.base.errors import TenureError


class AlreadyRunning(TenureError):
    """Another `tenure up` works on the same directory."""

    code: ClassVar[str] = "local.already_running"
    hint: ClassVar[str] = "Use that one, stop it with Ctrl-C, or give --data another directory."


class PortTaken(TenureError):
    """Somebody listens already on the port that was asked for."""

    code: ClassVar[str] = "local.port_taken"
    hint: ClassVar[str] = "Give --port another number, or leave it out: then a free one is found."


class NotReady(TenureError):
    """A process runs, but did not say in time that it is ready."""

    code: ClassVar[str] = "local.not_ready"
    hint: ClassVar[str] = "Read the log above; on a very slow machine, try again."


class Died(TenureError):
    """A process ended that nobody had told to end."""

    code: ClassVar[str] = "local.died"
    hint: ClassVar[str] = "Everything else was stopped; the data is kept. The log above says more."


class NotAsTold(TenureError):
    """A step of the story went another way than it is told."""

    code: ClassVar[str] = "local.not_as_told"
    hint: ClassVar[str] = "This is a bug of ours, or of the sandbox: keep the logs and tell us."
