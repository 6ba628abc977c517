"""Issuers of every kind over real HTTP: they publish keys, sign anything, and can misbehave."""

import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from uuid import UUID

import httpx

from tenure.base.clock import StoppedClock
from tenure.identity.issuers import Issuer, clerk, oidc, supabase, workos
from tenure.identity.session import Verifier
from tenure.sandbox.supabase import signing
from tenure.sandbox.supabase.signing import LEGACY, SigningKey

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
Kind = Literal["clerk", "workos", "supabase", "oidc"]
KINDS: tuple[Kind, ...] = ("clerk", "workos", "supabase", "oidc")
JWKS: dict[str, str] = {
    "clerk": "/.well-known/jwks.json",
    "workos": "/sso/jwks/client_1",
    "supabase": "/auth/v1/.well-known/jwks.json",
    "oidc": "/keys",
}
DISCOVERY = "/.well-known/openid-configuration"
SECRET = "a shared secret of forty characters or so"


@dataclass(kw_only=True)
class Authority:
    kind: Kind
    url: str
    clock: StoppedClock
    keys: list[SigningKey]  # newest first
    asked: Counter[str] = field(default_factory=Counter[str])
    delay: float = 0.0
    broken: bool = False
    moved: str = ""  # another path for the keys
    configuration: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def name(self) -> str:
        """Its `iss`."""
        return self.url + {"supabase": "/auth/v1", "workos": "/user_management/client_1"}.get(
            self.kind, ""
        )

    @property
    def issuer(self) -> Issuer:
        return {
            "clerk": lambda: clerk(self.url),
            "workos": lambda: workos("client_1", api_base=self.url),
            "supabase": lambda: supabase(self.url, jwt_secret=SECRET),
            "oidc": lambda: oidc(self.url, ["api"], algorithm="ES256"),
        }[self.kind]()

    def claims(self, number: int = 0, **changes: Any) -> dict[str, Any]:
        """Write the claims of a good token; each `number` gives another user."""
        at = self.clock.now().timestamp()
        said = {"iss": self.name, "sub": f"user_{number}", "iat": at, "exp": at + 60}
        session = str(UUID(int=number + 1))
        own: dict[str, dict[str, Any]] = {
            "clerk": {"v": 2, "sid": "sess_1", "sts": "active"},
            "workos": {"sid": "session_1", "jti": "1"},
            "supabase": {
                "sub": session,
                "session_id": session,
                "aud": "authenticated",
                "role": "authenticated",
                "is_anonymous": False,
            },
            "oidc": {"aud": ["api", "other"]},
        }
        return {
            name: value
            for name, value in (said | own[self.kind] | changes).items()
            if value is not None
        }

    def sign(self, number: int = 0, *, key: SigningKey | None = None, **asked: Any) -> str:
        """Make a token; `headers` and `by` are those of signing.sign, the rest are claims."""
        how = {name: asked.pop(name) for name in ("headers", "by") if name in asked}
        return signing.sign(self.claims(number, **asked), key or self.keys[0], **how)

    def rotate(self, *, keep: bool, kid: str = "") -> None:
        old = self.keys[0]
        fresh = signing.make(kid or f"{old.kid}+", old.algorithm, "in_use")
        self.keys = [fresh, *(self.keys if keep else [])]

    @property
    def place(self) -> str:
        """Where its keys are."""
        return self.moved or JWKS[self.kind]

    def fetches(self) -> int:
        return self.asked[self.place]

    def answer(self, path: str) -> tuple[int, Any]:
        self.asked[path] += 1
        if self.delay:
            threading.Event().wait(self.delay)
        if self.broken:
            return 500, {}
        if path == self.place:
            return 200, signing.jwks(self.keys)
        if path == DISCOVERY and self.kind == "oidc":
            usual = {"issuer": self.url, "jwks_uri": self.url + self.place}
            return 200, usual | self.configuration
        return 404, {}

    @asynccontextmanager
    async def verifier(self, *more: Issuer) -> AsyncIterator[Verifier]:
        async with (
            httpx.AsyncClient() as http,
            Verifier([self.issuer, *more], clock=self.clock, http=http) as verifier,
        ):
            yield verifier


@contextmanager
def an_authority(kind: Kind) -> Iterator[Authority]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, said = authority.answer(self.path)
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    algorithm = "ES256" if kind in {"supabase", "oidc"} else "RS256"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    authority = Authority(
        kind=kind,
        url=f"http://127.0.0.1:{server.server_port}",
        clock=StoppedClock(START),
        keys=[signing.make("key_1", algorithm, "in_use")],
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield authority
    server.shutdown()
    server.server_close()
    thread.join()


def shared_key() -> SigningKey:
    """The legacy secret of a Supabase project."""
    return SigningKey(kid=LEGACY, algorithm="HS256", state="in_use", text=SECRET)
