"""A process of its own that verifies tokens, all at once: `{"url", "rounds"}` on standard input."""

import asyncio
import json
import sys
from collections import Counter
from typing import Any

import httpx

from tenure.base.clock import SystemClock
from tenure.identity.issuers import supabase
from tenure.identity.session import Verifier


async def main(asked: dict[str, Any]) -> list[dict[str, int]]:
    """Say for each round what came out, and how often."""
    said = []
    async with (
        httpx.AsyncClient() as http,
        Verifier([supabase(asked["url"])], clock=SystemClock(), http=http) as verifier,
    ):
        for tokens in asked["rounds"]:
            seen = await asyncio.gather(*map(verifier.verify, tokens), return_exceptions=True)
            said.append(dict(Counter(type(one).__name__ for one in seen)))
    return said


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
