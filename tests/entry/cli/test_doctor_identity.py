"""What doctor says of whoever says who people are."""

from tenure.base.settings import load
from tenure.entry.cli.checks import issuer_keys
from tests.identity.authorities import SECRET, Authority, Kind, an_authority


def environ_of(authority: Authority) -> dict[str, str]:
    return {
        "clerk": {"CLERK_ISSUER": authority.url},
        "workos": {"WORKOS_CLIENT_ID": "client_1", "WORKOS_API_BASE": authority.url},
        "supabase": {"SUPABASE_URL": authority.url},
        "oidc": {
            "TENURE_OIDC_ISSUER": authority.url,
            "TENURE_OIDC_AUDIENCE": "api",
            "TENURE_OIDC_ALGORITHM": "ES256",
        },
    }[authority.kind]


def said(environ: dict[str, str]) -> list[tuple[str, str, str]]:
    return [(one.name, one.state, one.what) for one in issuer_keys(load(environ))]


def test_the_keys_of_every_provider_are_looked_at() -> None:
    """S8: whichever it is, and the fix names its setting."""
    kinds: list[Kind] = ["clerk", "workos", "supabase", "oidc"]
    for kind in kinds:
        with an_authority(kind) as authority:
            environ = environ_of(authority)
            assert said(environ) == [
                (f"{kind} keys", "ok", f"1 at {authority.url}{authority.place}")
            ]
            authority.broken = True
            (away,) = issuer_keys(load(environ))
        assert away.state == "fail"
        assert "Check " in away.fix


def test_no_provider_at_all_is_a_failure_that_names_all() -> None:
    ((name, state, _),) = said({})
    assert (name, state) == ("identity", "fail")
    (none,) = issuer_keys(load({}))
    assert "WORKOS_CLIENT_ID" in none.fix


def test_a_project_that_publishes_no_key_needs_its_secret() -> None:
    with an_authority("supabase") as project:
        project.keys = []
        environ = environ_of(project)
        ((_, without, why),) = said(environ)
        ((_, state, what),) = said({**environ, "SUPABASE_JWT_SECRET": SECRET})
    assert (without, "publishes none" in why) == ("fail", True)
    assert (state, "the shared secret" in what) == ("ok", True)


def test_a_foreign_configuration_is_named() -> None:
    with an_authority("oidc") as authority:
        authority.configuration = {"issuer": authority.url + "/"}
        ((_, state, what),) = said(environ_of(authority))
    assert (state, "slash and all" in what) == ("fail", True)
