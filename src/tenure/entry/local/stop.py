"""Being told to stop: noted at once, obeyed between two acts, so that no process is forgotten."""

import signal
import time
from collections.abc import Generator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Whether somebody told us to stop."""

    def __init__(self) -> None:
        self._asked = False

    def ask(self) -> None:
        """Note that we are to stop."""
        self._asked = True

    def check(self) -> None:
        """Stop here, if somebody asked for it.

        Errors: KeyboardInterrupt.
        """
        if self._asked:
            raise KeyboardInterrupt

    def pause(self, seconds: float) -> None:
        """Wait a moment.

        Errors: KeyboardInterrupt.
        """
        self.check()
        time.sleep(seconds)
        self.check()


@contextmanager
def told_to_stop() -> Generator[Stop]:
    """Hear Ctrl-C, SIGTERM and a closed terminal for as long as the block lasts."""
    stop = Stop()

    def hear(_number: int, _frame: object) -> None:
        stop.ask()

    before = {number: signal.signal(number, hear) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
