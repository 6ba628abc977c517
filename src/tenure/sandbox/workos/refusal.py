"""How WorkOS says no: one shape for its API, one for the OAuth endpoint."""

from typing import Any, Self

from tenure.base.errors import TenureError


class Refused(TenureError):
    """WorkOS says no, in WorkOS's own words."""

    code = "sandbox.workos_refused"
    hint = "Read the `code` or `error` of the answer, as you would with WorkOS."

    def __init__(self, status: int, code: str, message: str, **more: object) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"code": code, "message": message, **more}

    @classmethod
    def oauth(cls, error: str, description: str, status: int = 400) -> Self:
        """Say no as the token endpoint does."""
        refused = cls(status, error, description)
        refused.body = {"error": error, "error_description": description}
        return refused

    @classmethod
    def missing(cls, what: str, key: str) -> Self:
        """Say that there is no such object."""
        return cls(404, "entity_not_found", f"{what} not found: '{key}'.", entity_id=key)

    @classmethod
    def invalid(cls, field: str, why: str, status: int = 422) -> Self:
        """Say that a parameter will not do."""
        problem = {"code": f"invalid_{field}", "field": field, "message": why}
        code = "invalid_request_parameters"
        return cls(status, code, f"Validation failed: {field} {why}.", errors=[problem])
