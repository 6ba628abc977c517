"""Whose events this installation reads, and whom it can ask, as its settings say."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import httpx

from tenure.base.budget import Budget
from tenure.base.clock import Clock, SystemClock
from tenure.base.db import Db
from tenure.base.settings import Settings
from tenure.base.settings_table import is_live
from tenure.identity.clerk import ClerkDirectory, ClerkReader
from tenure.identity.directory import Directory, Reader
from tenure.identity.supabase import SupabaseDirectory, SupabaseReader, holds_users
from tenure.identity.workos import WorkosDirectory
from tenure.identity.workos_events import WorkosReader


def readers(settings: Settings) -> Mapping[str, Reader]:
    """Make the readers of the providers that are configured, with a key or without."""
    found: dict[str, Reader] = {}
    if settings.clerk_secret_key or settings.clerk_issuer or settings.clerk_webhook_secrets:
        found["clerk"] = ClerkReader(livemode=clerk_live(settings))
    if settings.workos_api_key or settings.workos_client_id or settings.workos_webhook_secrets:
        found["workos"] = WorkosReader()
    if "supabase" in settings.trusted:
        found["supabase"] = SupabaseReader()
    return found


@asynccontextmanager
async def open_directories(
    settings: Settings, db: Db, clock: Clock | None = None
) -> AsyncGenerator[Mapping[str, Directory]]:
    """Make the providers that we have a key for, and hold their connections open.

    Supabase Auth needs no key: it can be asked where its users stand in our own database.
    """
    async with httpx.AsyncClient() as http:
        found: dict[str, Directory] = {}
        if settings.clerk_secret_key:
            found["clerk"] = ClerkDirectory(
                settings.clerk_secret_key,
                livemode=clerk_live(settings),
                api_base=settings.clerk_api_base,
                http=http,
                spend=partial(_clerk_budget(settings).spend, db),
            )
        if settings.workos_api_key:
            found["workos"] = WorkosDirectory(
                settings.workos_api_key,
                api_base=settings.workos_api_base,
                http=http,
                spend=partial(_budget("workos", settings.workos_rate).spend, db),
            )
        if "supabase" in settings.trusted and await holds_users(db):
            found["supabase"] = SupabaseDirectory(db, clock or SystemClock())
        yield found


def clerk_live(settings: Settings) -> bool:
    """Say whether Clerk's instance is one of production: its keys tell."""
    keys = (settings.clerk_secret_key, settings.clerk_publishable_key)
    key = next(filter(None, keys), None)
    return settings.livemode if key is None else is_live(key)


def _clerk_budget(settings: Settings) -> Budget:
    mode = "live" if clerk_live(settings) else "test"
    return _budget(f"clerk:{mode}", settings.clerk_rate)


def _budget(name: str, rate: float) -> Budget:
    """Share a provider's limit among all processes: a quarter second's worth may go at once."""
    return Budget(name=name, every=timedelta(seconds=1 / rate), burst=max(4, round(rate / 4)))
