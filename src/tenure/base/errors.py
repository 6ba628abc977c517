"""The one root of every error this product raises on purpose."""

from typing import ClassVar


class TenureError(Exception):
    """Something we expected could go wrong, said plainly.

    Every subclass has a stable `code` for programs and a `hint` for people.
    The transport (HTTP status, exit status) is chosen at the door, not here.
    """

    code: ClassVar[str] = "tenure.error"
    hint: ClassVar[str] = ""

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts = facts
