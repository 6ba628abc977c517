"""The part of the HTTP door that is a FastAPI application."""

from fastapi import FastAPI

import tenure
from tenure.entry.http import answers, billing, health, me, members, orgs, sessions

ABOUT = "Who your users are, what they bought, and what your Postgres says: kept in agreement."


def make_rest() -> FastAPI:
    """Make the part that is described by OpenAPI."""
    rest = FastAPI(
        title="Tenure",
        version=tenure.__version__,
        description=ABOUT,
        docs_url=None,  # those pages load programs from somebody else's server
        redoc_url=None,
    )
    for door in (health, billing, me, orgs, members, sessions):
        rest.include_router(door.router)
    answers.install(rest)
    return rest
