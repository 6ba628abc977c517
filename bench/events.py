"""Webhooks of identities, end to end: acknowledged, looked at, written; beside a tutorial's way."""

import json
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import psycopg

from bench import load, tutorial
from bench.crowd import Crowd, Row, gather
from bench.result import Result, middle, spread
from bench.serving import until
from bench.town import Town

USERS, ORGS, EVENTS, ROUNDS, CONNECTIONS, BURST = 300, 20, 1_000, 3, 16, 300
ALONE, APART = 25, 1.0  # events, seconds: the worker has gone to rest in between
STEADY, EACH_SECOND = 200, 20
WITHIN = 180.0  # seconds
DUE = "SELECT count(*) FROM tenure.subjects WHERE dirty_seq > settled_seq"
WHAT = """
    SELECT kind, count(*), max(last_error) FROM tenure.subjects WHERE dirty_seq > settled_seq
     GROUP BY kind
    """
ROWS = """
    SELECT o.external_id, u.external_id, m.role, m.status FROM tenure.memberships m
      JOIN tenure.identities o ON o.org_id = m.org_id AND o.provider = %(provider)s
      JOIN tenure.identities u ON u.user_id = m.user_id AND u.provider = %(provider)s
     WHERE o.external_id = ANY (%(orgs)s)
    """
NAMES = """
    SELECT external_id, coalesce(org_id, user_id)::text FROM tenure.identities
     WHERE external_id = ANY (%s)
    """


def measure(town: Town) -> Iterator[Result]:
    """Measure the provider of this town."""
    title = town.plan.who.title
    theirs = _tutorial(town)
    town.wake_worker()
    with psycopg.connect(town.admin, autocommit=True) as conn:
        yield from _throughput(town, conn, title, theirs)
        yield from _burst(town, conn, title)
        yield from _delays(town, conn, title, theirs)
    town.rest_worker()


def _tutorial(town: Town) -> dict[int, load.Timing]:
    """Measure the usual handler, with nothing else going on."""
    town.rest_worker()
    town.sql(tutorial.TABLE)
    town.sql("GRANT ALL ON bench_tutorial TO PUBLIC")
    town.forget()
    found: dict[int, load.Timing] = {}
    with town.serving(f"bench.tutorial:{town.plan.who.name}") as url:
        for connections in (1, CONNECTIONS):
            rounds = [
                _all_taken(url, gather(town, users=USERS, orgs=ORGS, members=EVENTS), connections)
                for _ in range(ROUNDS)
            ]
            found[connections] = sorted(rounds, key=lambda t: t.per_second)[len(rounds) // 2]
    return found


def _all_taken(url: str, crowd: Crowd, connections: int) -> load.Timing:
    requests = crowd.requests(url, f"t{time.monotonic_ns()}")
    timing = load.run(url, requests, connections=connections)
    assert not timing.refused, f"{timing.refused} refused"
    return timing


def _throughput(
    town: Town, conn: psycopg.Connection, title: str, theirs: dict[int, load.Timing]
) -> Iterator[Result]:
    """Post events of memberships that are new to us, and wait until all is as it must be."""
    acks: list[load.Timing] = []
    settled: list[float] = []
    calls: list[float] = []
    for _ in range(ROUNDS):
        crowd = gather(town, users=USERS, orgs=ORGS, members=EVENTS)
        _asked(town)
        began = time.perf_counter()
        acks.append(_all_taken(town.plan.service, crowd, CONNECTIONS))
        _until_settled(conn)
        settled.append(EVENTS / (time.perf_counter() - began))
        calls.append(float(sum(_asked(town).values())))
        missing = crowd.rows ^ _rows(conn, crowd)
        assert not missing, f"{len(missing)} rows differ"
    usual = theirs[CONNECTIONS]
    what = f"{title} webhooks, {CONNECTIONS} connections"
    yield _beside(
        f"{what}: acknowledged, worker running",
        [timing.per_second for timing in acks],
        "/s",
        usual.per_second,
        "a tutorial's handler",
    )
    yield _beside(
        f"{what}: acknowledged, worker running, p99",
        [timing.p99 for timing in acks],
        "ms",
        usual.p99,
        "a tutorial's handler",
    )
    yield _beside(
        f"{what}: looked at, written, rows equal",
        settled,
        "/s",
        usual.per_second,
        "a tutorial's handler, which believes what it is sent",
    )
    yield _beside(
        f"{title}: calls for {EVENTS} memberships of {USERS} users in {ORGS} organizations",
        calls,
        "calls",
        float(EVENTS),
        "a look for each event",
    )


def _burst(town: Town, conn: psycopg.Connection, title: str) -> Iterator[Result]:
    """Count what many events of one membership cost."""
    looks: list[float] = []
    for n in range(ROUNDS):
        crowd = gather(town, users=1, orgs=1, members=1)
        url, (member,) = town.plan.service, crowd.members
        _all_taken(url, crowd, 1)
        _until_settled(conn)
        requests = [
            crowd.request(url, f"b{n}x{time.monotonic_ns()}x{m}", member) for m in range(BURST)
        ]
        _asked(town)
        load.run(url, requests, connections=10)
        _until_settled(conn)
        looks.append(float(sum(_asked(town).values())))
    yield Result(
        name=f"{title}: looks for {BURST} events of one membership",
        value=middle(looks),
        unit="looks",
        target="≤ 2",
        baseline=float(BURST),
        against="a look for each event",
        spread=spread(looks),
    )


def _delays(
    town: Town, conn: psycopg.Connection, title: str, theirs: dict[int, load.Timing]
) -> Iterator[Result]:
    """Time the way from a webhook to the committed row."""
    alone = _paced(town, conn, ALONE, APART)
    steady = _paced(town, conn, STEADY, 1 / EACH_SECOND)
    usual = theirs[1]
    for what, took, part, against in (
        ("the worker at rest, p50", alone, 0.5, usual.p50),
        ("the worker at rest, most", alone, 1.0, usual.p99),
        (f"{EACH_SECOND} events a second, p50", steady, 0.5, usual.p50),
        (f"{EACH_SECOND} events a second, p99", steady, 0.99, usual.p99),
    ):
        took.sort()
        yield Result(
            name=f"{title}: webhook to row, {what}",
            value=took[min(len(took) - 1, int(len(took) * part))] * 1000,
            unit="ms",
            baseline=against,
            against="a tutorial's handler, one connection, most is p99",
            spread=(took[0] * 1000, took[-1] * 1000),
        )


def _paced(town: Town, conn: psycopg.Connection, count: int, apart: float) -> list[float]:
    """Post events one by one, so many seconds apart; give the seconds that each one took."""
    crowd = gather(town, users=count, orgs=max(1, count // 50), members=count)
    url = town.plan.service
    requests = crowd.requests(url, f"p{time.monotonic_ns()}")
    _until_settled(conn)
    sent: dict[Row, float] = {}
    with _ear(town) as ear, _line(url) as line:
        begins = time.perf_counter() + 0.1
        for n, (request, row) in enumerate(zip(requests, crowd.events, strict=True)):
            time.sleep(max(0.0, begins + n * apart - time.perf_counter()))
            sent[row] = time.perf_counter()
            line.sendall(request)
            _taken(line)
        until(lambda: len(ear.heard) >= count, within=WITHIN)
    _until_settled(conn)
    names = _names(conn, sent)
    return [ear.heard[names[org], names[user]] - at for (org, user, _, _), at in sent.items()]


def _taken(line: socket.socket) -> None:
    answer = b""
    while not load.is_whole(answer):
        part = line.recv(65536)
        assert part, "the service hung up"
        answer += part
    assert answer.startswith(b"HTTP/1.1 200"), answer


def _names(conn: psycopg.Connection, rows: dict[Row, float]) -> dict[str, str]:
    """Say how we call those whom the provider names."""
    wanted = sorted({name for org, user, _, _ in rows for name in (org, user)})
    found = conn.execute(NAMES, (wanted,)).fetchall()
    return dict(cast("list[tuple[str, str]]", found))


@dataclass(slots=True)
class Ear:
    """When the database told of a member's change: that is when it was committed."""

    heard: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])


@contextmanager
def _ear(town: Town) -> Generator[Ear]:
    ear, ends = Ear(), threading.Event()
    with psycopg.connect(town.admin, autocommit=True) as conn:
        conn.execute("LISTEN tenure_news")

        def listen() -> None:
            while not ends.is_set():
                for note in conn.notifies(timeout=0.1):
                    now, told = time.perf_counter(), json.loads(note.payload)
                    if told["topic"] == "members.changed":
                        ear.heard.setdefault((told["org_id"], told["user_id"]), now)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield ear
        finally:
            ends.set()
            thread.join()


@contextmanager
def _line(url: str) -> Generator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield line


def _until_settled(conn: psycopg.Connection) -> None:
    """Wait until nothing is due.

    Errors: AssertionError, with what is still due, and why.
    """
    try:
        until(lambda: conn.execute(DUE).fetchone() == (0,), within=WITHIN)
    except TimeoutError as exc:
        raise AssertionError(f"still due: {conn.execute(WHAT).fetchall()}") from exc


def _rows(conn: psycopg.Connection, crowd: Crowd) -> set[Row]:
    orgs = sorted({org for org, _, _, _ in crowd.rows})
    asked = {"provider": crowd.provider, "orgs": orgs}
    return set(cast("list[Row]", conn.execute(ROWS, asked).fetchall()))


def _asked(town: Town) -> dict[str, int]:
    """Say how often the provider was asked for what, and begin again at 0."""
    with town.identity() as http:
        counted: dict[str, int] = http.get("/_sandbox/requests").json()["by_path"]
        http.delete("/_sandbox/requests")
    return {path: count for path, count in counted.items() if not path.startswith("GET /events")}


def _beside(name: str, rounds: list[float], unit: str, other: float, against: str) -> Result:
    return Result(
        name=name,
        value=middle(rounds),
        unit=unit,
        baseline=other,
        against=against,
        spread=spread(rounds),
    )
