"""Everything the pretended Stripe remembers, as plain JSON, so that it can be saved and loaded."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenure.base.errors import TenureError
from tenure.sandbox.stripe.model import Obj

Tables = dict[str, dict[str, Obj]]


class UnreadableState(TenureError):
    """The file is not a saved sandbox."""

    code = "sandbox.unreadable_state"
    hint = "Give the path of a file written by POST /_sandbox/save."


def _two_modes() -> dict[str, Tables]:
    return {"test": {}, "live": {}}


@dataclass(slots=True, kw_only=True)
class State:
    """All that is remembered; `offset` is how far sandbox time is ahead of real time."""

    tables: dict[str, Tables] = field(default_factory=_two_modes)
    saved_answers: dict[str, Obj] = field(default_factory=dict[str, Obj])
    deliveries: dict[str, Obj] = field(default_factory=dict[str, Obj])
    offset: int = 0

    def save(self, path: Path) -> None:
        """Write everything to a file, whole or not at all."""
        kept: dict[str, Any] = {
            "tables": self.tables,
            "saved_answers": self.saved_answers,
            "deliveries": self.deliveries,
            "offset": self.offset,
        }
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(json.dumps(kept))
        fresh.replace(path)

    def load(self, path: Path) -> None:
        """Replace everything by what a file holds.

        Errors: UnreadableState, and then nothing was replaced.
        """
        try:
            kept = json.loads(path.read_text())
            tables, answers = kept["tables"], kept["saved_answers"]
            deliveries, offset = kept["deliveries"], int(kept["offset"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnreadableState(f"cannot read a saved sandbox from {path}: {error}") from error
        self.tables, self.saved_answers = tables, answers
        self.deliveries, self.offset = deliveries, offset
