"""Counters for Prometheus: what the doors did in this process."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tenure.journal.model import Backlog

registry = CollectorRegistry()

requests = Counter("tenure_requests", "Requests answered", ("door", "status"), registry=registry)
seconds = Histogram(
    "tenure_request_seconds",
    "Time to the answer",
    ("door",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
    registry=registry,
)
decisions = Counter(
    "tenure_gate_decisions", "What the gate decided", ("reason",), registry=registry
)
_due = Gauge("tenure_subjects_due", "Subjects to be looked at", ("kind",), registry=registry)
_database_up = Gauge("tenure_database_up", "Whether the database answers", registry=registry)
_failing = Gauge("tenure_subjects_failing", "Of these, put off", ("kind",), registry=registry)


@cache  # doors and statuses are few
def _counters(door: str, status: int) -> tuple[Counter, Histogram]:
    return requests.labels(door, str(status)), seconds.labels(door)


def answered(door: str, status: int, took: float) -> None:
    """Count one answer; `took` in seconds."""
    counter, histogram = _counters(door, status)
    counter.inc()
    histogram.observe(took)


def rendered(backlogs: list[Backlog] | None) -> bytes:
    """Write everything in Prometheus' text format; `backlogs`: None when the database is away."""
    _database_up.set(backlogs is not None)
    _due.clear()
    _failing.clear()
    for backlog in backlogs or ():
        _due.labels(backlog.kind).set(backlog.due)
        _failing.labels(backlog.kind).set(backlog.failing)
    return generate_latest(registry)
