"""Teach FastAPI our one error shape: for our errors, for bad input, for bugs."""

from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tenure.base.errors import TenureError
from tenure.base.log import log
from tenure.entry.http import errors
from tenure.gate import told

NOT_JSON = {  # what FastAPI says of a body as a whole, in words that tell what to do
    "json_invalid": "is not JSON",
    "model_attributes_type": "must be a JSON object, sent with Content-Type: application/json",
}


def BROKEN() -> dict[str, object]:  # noqa: N802 (an answer that is always the same but for its id)
    """Tell of a bug without its insides."""
    return told.error(
        "http.broke", "something went wrong here", "Tell us the request id; the log knows more."
    )


def install(app: FastAPI) -> None:
    """Teach `app` to answer everything that goes wrong as JSON of one shape."""
    app.add_exception_handler(TenureError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


async def _ours(request: Request, exc: Exception) -> JSONResponse:
    known = cast("TenureError", exc)
    status = errors.status_of(known)
    if status >= 500:  # noqa: PLR2004 (HTTP: the fault is not the client's)
        log.warning("http.failed", path=request.url.path, code=known.code, error=str(known))
    return JSONResponse(errors.body_of(known), status, headers=errors.headers_of(known))


async def _invalid(_: Request, exc: Exception) -> JSONResponse:
    problems = cast("list[dict[str, Any]]", cast("RequestValidationError", exc).errors())
    fields = [{"field": _field(p), "message": _message(p)} for p in problems]
    message = "; ".join(f"{f['field']}: {f['message']}" for f in fields)
    body = told.error("http.invalid", message, "Correct the named fields.", fields=fields)
    return JSONResponse(body, 422)


async def _http(_: Request, exc: Exception) -> JSONResponse:
    known = cast("HTTPException", exc)
    code = {404: "http.not_found", 405: "http.method_not_allowed"}.get(
        known.status_code, "http.refused"
    )
    body = told.error(code, str(known.detail), "/openapi.json lists every address.")
    return JSONResponse(body, known.status_code, headers=known.headers)


async def _bug(_request: Request, _exc: Exception) -> JSONResponse:
    return JSONResponse(BROKEN(), 500)  # it is raised again behind us, and logged by `App`


def _field(problem: dict[str, Any]) -> str:
    """Name a field as the client wrote it: `limit`, `lines.0.price`."""
    parts = [str(part) for part in problem["loc"]]
    if problem["type"] in NOT_JSON:
        return "body"
    return ".".join(parts[1:] or parts)


def _message(problem: dict[str, Any]) -> str:
    return NOT_JSON.get(problem["type"], str(problem["msg"]))
