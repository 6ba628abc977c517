"""What a measurement says, and how it is written down."""

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One figure beside its baseline, both measured in the same run."""

    name: str
    value: float
    unit: str
    target: str = ""
    baseline: float | None = None
    against: str = ""  # what the baseline is
    spread: tuple[float, float] | None = None  # least and most over the rounds

    @property
    def ratio(self) -> float | None:
        """The value in parts of its baseline."""
        return self.value / self.baseline if self.baseline else None


def middle(rounds: Sequence[float]) -> float:
    """Take the median of several rounds."""
    return float(median(rounds))


def spread(rounds: Sequence[float]) -> tuple[float, float]:
    """Say how far the rounds lie apart."""
    return (min(rounds), max(rounds))


def table(results: Sequence[Result]) -> str:
    """Write the results for reading."""
    head = ("what", "value", "spread", "target", "baseline", "ratio")
    rows = [head, *(_row(result) for result in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows
    )


def record(results: Sequence[Result]) -> dict[str, object]:
    """Write the results for programs, with the machine and the commit."""
    return {
        "machine": machine(),
        "commit": _commit(),
        "results": [asdict(r) | {"ratio": _short(r.ratio)} for r in results],
    }


def machine() -> str:
    """Describe this machine in a line."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    models = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    memory = Path("/proc/meminfo")
    kilobytes = int(memory.read_text().split()[1]) if memory.exists() else 0
    cpu = models[0] if models else platform.processor()
    return f"{len(models)} x {cpu}, {kilobytes // 1024**2} GiB, Python {platform.python_version()}"


def _row(result: Result) -> tuple[str, ...]:
    low_high = f"{_short(result.spread[0])} … {_short(result.spread[1])}" if result.spread else ""
    baseline = f"{_short(result.baseline)} ({result.against})" if result.against else ""
    ratio = f"{result.ratio:.2f}" if result.ratio else ""
    value = f"{_short(result.value)} {result.unit}"
    return (result.name, value, low_high, result.target, baseline, ratio)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _commit() -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 (git, wherever it is)
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip()
