"""A load generator that costs little: requests made beforehand, raw sockets, one epoll loop."""

import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How a run of requests went; times in milliseconds."""

    per_second: float
    p50: float
    p99: float
    refused: int  # answers that were not 200


def request(url: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Write one HTTP/1.1 request, ready to be sent."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def run(url: str, requests: Sequence[bytes], *, connections: int) -> Timing:
    """Send every request once, each connection waiting for its answer before the next."""
    parts = urlsplit(url)
    poller = select.epoll()
    open_: dict[int, socket.socket] = {}
    for _ in range(connections):
        conn = socket.create_connection((parts.hostname or "", parts.port or 80))
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        open_[conn.fileno()] = conn
        poller.register(conn.fileno(), select.EPOLLIN)
    todo, sent_at, took, refused = iter(requests), dict[int, float](), list[float](), 0
    parts_of: dict[int, bytes] = {}
    began = time.perf_counter()
    for number, conn in open_.items():
        sent_at[number] = time.perf_counter()
        conn.sendall(next(todo))
    while len(took) < len(requests):
        for number, _ in poller.poll():
            answer = parts_of[number] = parts_of.get(number, b"") + open_[number].recv(65536)
            if not is_whole(answer):
                continue
            del parts_of[number]
            now = time.perf_counter()
            took.append(now - sent_at[number])
            refused += not answer.startswith(b"HTTP/1.1 200")
            if (following := next(todo, None)) is not None:
                sent_at[number] = now
                open_[number].sendall(following)
    elapsed = time.perf_counter() - began
    poller.close()
    for conn in open_.values():
        conn.close()
    took.sort()
    return Timing(
        per_second=len(took) / elapsed,
        p50=took[len(took) // 2] * 1000,
        p99=took[int(len(took) * 0.99)] * 1000,
        refused=refused,
    )


def is_whole(answer: bytes) -> bool:
    """Say whether an answer with a Content-Length has come completely."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    return bool(end) and len(body) >= int(length)
