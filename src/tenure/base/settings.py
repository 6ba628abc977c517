"""Settings: loaded once, frozen, every problem in one message, secrets never shown."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from tenure.base import dotenv as dotenv_file
from tenure.base.errors import TenureError
from tenure.base.settings_outside import CLERK_LIVE_RATE, CLERK_TEST_RATE, LIVE_RATE, TEST_RATE
from tenure.base.settings_table import FIELDS, Settings, is_live
from tenure.base.variables import Problem, Variable, frontend, is_loopback

__all__ = ["BadSettings", "Need", "Settings", "load", "require"]

OURS = "TENURE_"
IDENTITY = "an identity provider"
Need = Literal["serve", "work", "db"]
NEEDS: dict[Need, tuple[str, ...]] = {
    "serve": ("DATABASE_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"),
    "work": ("DATABASE_URL", "STRIPE_SECRET_KEY"),
    "db": ("DATABASE_URL",),
}
NAMED_BY = {  # what each identity provider is configured by
    "clerk": "CLERK_PUBLISHABLE_KEY",
    "workos": "WORKOS_CLIENT_ID",
    "supabase": "SUPABASE_URL",
    "oidc": "TENURE_OIDC_ISSUER",
}
_NAMES = {variable.name: field for field, variable in FIELDS.items()}


class BadSettings(TenureError):
    """Settings are missing or wrong; every problem is listed, none of the values is repeated."""

    code = "base.bad_settings"
    hint = "Set them in the environment or in .env; .env.example lists every variable."

    def __init__(self, problems: list[Problem]) -> None:
        several_words = "1 setting is" if len(problems) == 1 else f"{len(problems)} settings are"
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{several_words} missing or wrong:{lines}", problems=tuple(problems))
        self.problems = tuple(problems)


def load(
    environ: Mapping[str, str], dotenv: Path | None = None, *, need: Need | None = None
) -> Settings:
    """Read the settings; the environment wins over the file, and an empty value is unset.

    `need`: the command that will use them, so that what it lacks is told in the same message.
    Errors: BadSettings, with every problem there is.
    """
    given, problems = _given(environ, dotenv)
    values: dict[str, Any] = {}
    for name, variable in FIELDS.items():
        try:
            if written := given.get(variable.name, ""):
                values[name] = _parsed(variable, written)
        except ValueError as exc:
            problems.append(Problem(name=variable.name, wrong=str(exc), example=variable.example))
    settings = Settings(**_derived(values))
    bad = {problem.name for problem in problems}
    if bad & {"CLERK_ISSUER", *NAMED_BY.values()}:
        bad.add(IDENTITY)  # which one of these would have been
    problems += [mixed for mixed in _mix_ups(settings) if mixed.name not in bad]
    if need:
        problems += [lack for lack in _missing(settings, need) if lack.name not in bad]
    if problems:
        raise BadSettings(problems)
    return settings


def _given(environ: Mapping[str, str], dotenv: Path | None) -> tuple[dict[str, str], list[Problem]]:
    written, bad = dotenv_file.read(dotenv) if dotenv and dotenv.is_file() else ({}, [])
    given = {name: value.strip() for name, value in {**written, **environ}.items()}
    problems = [Problem(name=f"{dotenv} line {line}", wrong="is not KEY=VALUE") for line in bad]
    problems += [_unknown(name) for name in given if name.startswith(OURS) and name not in _NAMES]
    return given, problems


def _unknown(name: str) -> Problem:
    close = difflib.get_close_matches(name, [n for n in _NAMES if n.startswith(OURS)], n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return Problem(name=name, wrong=f"is not a setting of ours{meant}")


def _parsed(variable: Variable, written: str) -> object:
    if len(written) > 1 and written[0] == written[-1] and written[0] in "\"'":
        raise ValueError("has quotes around it that belong to the file format; take them off")
    return variable.parse(written)


def _derived(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in the defaults that depend on other variables."""
    found = dict(values)
    if "clerk_publishable_key" in values:
        found.setdefault("clerk_issuer", frontend(values["clerk_publishable_key"]))
    found.setdefault("return_origins", values.get("cors_origins", ()))
    live = is_live(values.get("stripe_secret_key", ""))
    found.setdefault("stripe_rate", LIVE_RATE if live else TEST_RATE)
    clerk_live = is_live(values.get("clerk_secret_key", ""))
    found.setdefault("clerk_rate", CLERK_LIVE_RATE if clerk_live else CLERK_TEST_RATE)
    return found


def require(settings: Settings, need: Need) -> None:
    """Check that everything a command needs is there.

    Errors: BadSettings.
    """
    if missing := _missing(settings, need):
        raise BadSettings(missing)


def _missing(settings: Settings, need: Need) -> list[Problem]:
    found: list[Problem] = []
    for name in NEEDS[need]:
        if not getattr(settings, _NAMES[name]):
            example = FIELDS[_NAMES[name]].example
            found.append(Problem(name=name, wrong=_why(settings, name, need), example=example))
    if need == "serve" and not settings.trusted:
        names = ", ".join(NAMED_BY.values())
        wrong = f"none is set; `tenure serve` needs at least one of {names} (or CLERK_ISSUER)"
        found.append(Problem(name=IDENTITY, wrong=wrong))
    return found


def _why(settings: Settings, name: str, need: Need) -> str:
    if name == "DATABASE_URL" and settings.supabase_mode:
        return (
            f"is not set, and `tenure {need}` of this release needs it: "
            "SUPABASE_URL with SUPABASE_SERVICE_ROLE_KEY is not enough yet"
        )
    return f"is not set; `tenure {need}` needs it"


def _mix_ups(settings: Settings) -> list[Problem]:
    """Name settings that are good by themselves and wrong beside one another."""
    return [*_mixed_modes(settings), *_half_identity(settings)]


def _half_identity(settings: Settings) -> Iterator[Problem]:
    """Name identity providers that lack something, and those that are wished for and not there."""
    for provider in settings.identity:
        if provider not in settings.configured:
            name = NAMED_BY[provider]
            wrong = f"is not set, and TENURE_IDENTITY names {provider}"
            yield Problem(name=name, wrong=wrong, example=FIELDS[_NAMES[name]].example)
    lone = settings.oidc_audiences or settings.oidc_jwks_url
    if settings.oidc_issuer and not settings.oidc_audiences:
        yield Problem(
            name="TENURE_OIDC_AUDIENCE",
            wrong="is not set beside TENURE_OIDC_ISSUER: tokens for any application would pass",
            example="https://api.example.com",
        )
    elif lone and not settings.oidc_issuer:
        yield Problem(
            name="TENURE_OIDC_ISSUER",
            wrong="is not set beside the other TENURE_OIDC_ settings, which mean nothing then",
            example="https://login.example.com/",
        )


def _mixed_modes(settings: Settings) -> list[Problem]:
    """Name keys of one mode beside keys of the other."""
    stripe_live = settings.livemode and not is_loopback(settings.stripe_api_base)
    secret, publishable = settings.clerk_secret_key, settings.clerk_publishable_key
    found: list[Problem] = []
    if secret and publishable and is_live(secret) != is_live(publishable):
        found.append(
            Problem(
                name="CLERK_PUBLISHABLE_KEY",
                wrong=f"is a {_mode(publishable)} key beside a {_mode(secret)} CLERK_SECRET_KEY",
                example=f"pk_{_mode(secret)}_…",
            )
        )
    if stripe_live and publishable.startswith("pk_test_"):
        found.append(
            Problem(
                name="STRIPE_SECRET_KEY",
                wrong="is a live key beside a test CLERK_PUBLISHABLE_KEY: "
                "people who only test would pay real money",
                example="sk_test_…",
            )
        )
    if stripe_live and settings.stripe_api_base.startswith("http://"):
        found.append(
            Problem(
                name="STRIPE_API_BASE",
                wrong="would send a live key over the network unencrypted",
                example="https://api.stripe.com",
            )
        )
    return found


def _mode(key: str) -> str:
    return "live" if is_live(key) else "test"
