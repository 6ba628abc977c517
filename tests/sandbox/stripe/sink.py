import json
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Sink:
    """Receives webhooks, and answers with the next planned status, else 200."""

    url: str = ""
    received: list[tuple[bytes, str]] = field(default_factory=list)
    answers: deque[int] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: bytes, signature: str) -> int:
        with self.lock:
            self.received.append((body, signature))
            return self.answers.popleft() if self.answers else 200

    def forget(self) -> None:
        with self.lock:
            self.received.clear()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body, _ in self.received]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]
