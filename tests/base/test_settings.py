import base64
from datetime import timedelta
from pathlib import Path

import pytest

from tenure.base.settings import BadSettings, Settings, load, require
from tenure.base.settings_table import FIELDS, is_live


def publishable(host: str, mode: str = "test") -> str:
    return f"pk_{mode}_" + base64.b64encode(f"{host}$".encode()).decode().rstrip("=")


def supabase_token(role: str) -> str:
    payload = base64.urlsafe_b64encode(f'{{"role":"{role}"}}'.encode()).decode().rstrip("=")
    return f"eyJ.{payload}.sig"


COMPLETE = {
    "DATABASE_URL": "postgresql://app:hunter2@127.0.0.1/app",
    "STRIPE_SECRET_KEY": "sk_test_one",
    "STRIPE_WEBHOOK_SECRET": "whsec_one",
    "CLERK_PUBLISHABLE_KEY": publishable("clerk.example.com"),
}


def problems(environ: dict[str, str], **given: object) -> dict[str, str]:
    with pytest.raises(BadSettings) as caught:
        load(environ, **given)
    return {problem.name: problem.wrong for problem in caught.value.problems}


BAD = {
    "DATABASE_URL": ("postgresql+psycopg://app:hunter2@db/app", "Python driver"),
    "DATABASE_DIRECT_URL": ("postgresql://app:[YOUR-PASSWORD]@db/app", "placeholder"),
    "STRIPE_SECRET_KEY": ("pk_test_hunter2", "publishable key"),
    "STRIPE_WEBHOOK_SECRET": ("whsec_one,we_hunter2", "id of the endpoint"),
    "STRIPE_API_BASE": ("api.stripe.com", "http or https"),
    "TENURE_STRIPE_ACCOUNT": ("hunter2", "acct_"),
    "TENURE_STRIPE_RATE": ("many", "from 0.1 to 10000 calls per second"),
    "CLERK_SECRET_KEY": ("pk_live_hunter2", "publishable key"),
    "CLERK_PUBLISHABLE_KEY": ("pk_test_hunter2", "base64"),
    "CLERK_ISSUER": ("https://user:hunter2@clerk.example.com", "user or password"),
    "CLERK_WEBHOOK_SECRET": ("whsec_hunter2!", "base64"),
    "CLERK_API_BASE": ("https://clerk.example.com:hunter2", "not an address"),
    "CLERK_AUTHORIZED_PARTIES": ("https://app.example.com/path", "without a path"),
    "WORKOS_API_KEY": ("hunter2", "sk_"),
    "WORKOS_CLIENT_ID": ("hunter2", "client_"),
    "WORKOS_API_BASE": ("https://a.example.com?q=hunter2", "without a query"),
    "WORKOS_ISSUER": ("https://api.workos.com/,hunter2", "http or https"),
    "TENURE_SESSION_KEY": ("aHVudGVyMg==", "32 bytes in URL-safe base64"),
    "SUPABASE_URL": ("abcdefgh.supabase.co", "http or https"),
    "SUPABASE_SERVICE_ROLE_KEY": (supabase_token("anon"), "the key of role anon"),
    "SUPABASE_ANON_KEY": ("hunter2", "sb_publishable_"),
    "SUPABASE_JWT_SECRET": ("hunter2", "at least 32 characters"),
    "TENURE_IDENTITY": ("clerk,hunter2", "clerk or workos or supabase or oidc"),
    "TENURE_OIDC_ISSUER": ("hunter2", "http or https"),
    "TENURE_OIDC_ALGORITHM": ("HS256", "RS256 or ES256"),
    "CORS_ORIGINS": ("*", "every site"),
    "TENURE_RETURN_ORIGINS": ("app.example.com", "scheme, host"),
    "TENURE_HOST": ("not a host", "host name"),
    "TENURE_PORT": ("70000", "from 1 to 65535"),
    "TENURE_MAX_BODY_KB": ("0", "from 1 to 65536 KiB"),
    "TENURE_PAST_DUE_GRACE_DAYS": ("-1", "from 0 to 365 days"),
    "TENURE_OVER_LIMIT": ("hunter2", "tolerate or deactivate"),
    "TENURE_DECISION_DAYS": ("0", "from 1 to 3650 days"),
    "TENURE_PAUSE_MS": ("nan", "milliseconds"),
    "TENURE_WORKER_CONCURRENCY": ("1.5", "whole number"),
    "TENURE_LOG_FORMAT": ("xml", "json or text"),
}


def test_every_problem_is_told_in_one_message_with_name_reason_and_example() -> None:
    """T1: every problem in one message, each with the variable, what is wrong, an example."""
    environ = {name: value for name, (value, _) in BAD.items()}
    with pytest.raises(BadSettings) as caught:
        load({**environ, "TENURE_PROT": "1"})
    told = {problem.name: problem for problem in caught.value.problems}
    assert told.keys() == {*BAD, "TENURE_PROT"}
    for name, (_, why) in BAD.items():
        assert why in told[name].wrong, name
        assert f"{name}: {told[name].wrong}; for example {name}=" in str(caught.value)


def test_no_message_repeats_a_value() -> None:
    with pytest.raises(BadSettings) as caught:
        load({name: value for name, (value, _) in BAD.items()})
    assert "hunter2" not in str(caught.value)


def test_every_example_is_accepted() -> None:
    examples = {variable.name: variable.example for variable in FIELDS.values()}
    assert load({**examples, "CLERK_ISSUER": "https://clerk.example.com"}).port == 8080


def test_a_misspelt_variable_is_named_with_the_closest_one() -> None:
    """T1: unknown TENURE_ variables are probable typing errors."""
    assert problems({"TENURE_GRACE_DAYS": "3"})["TENURE_GRACE_DAYS"].endswith(
        "did you mean TENURE_PAST_DUE_GRACE_DAYS?"
    )
    assert "did you mean" not in problems({"TENURE_QQQQQQQQ": "3"})["TENURE_QQQQQQQQ"]


def test_defaults_hold_where_nothing_is_set() -> None:
    settings = load({})
    assert (settings.host, settings.port, settings.max_body) == ("127.0.0.1", 8000, 1024 * 1024)
    assert settings.grace == timedelta(days=14)
    assert settings.pause == timedelta(milliseconds=400)
    assert (settings.database_url, settings.stripe_webhook_secrets) == ("", ())
    assert not settings.pooled
    assert not settings.supabase_mode


def test_the_environment_wins_over_the_file_and_empty_is_unset(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("TENURE_HOST=a\nTENURE_PORT=1\nTENURE_LOG_LEVEL=debug\nTENURE_POOL_SIZE=\n")
    settings = load({"TENURE_PORT": "2", "TENURE_LOG_LEVEL": "  "}, file)
    assert (settings.host, settings.port) == ("a", 2)
    assert (settings.log_level, settings.pool_size) == ("info", 10)


def test_the_file_takes_quotes_comments_and_export(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        """\
# a comment
export TENURE_HOST = "a.example.com"  # with a comment
CORS_ORIGINS='https://a.example.com,https://b.example.com'

WORKOS_WEBHOOK_SECRET="one#two\\"three"
SUPABASE_JWT_SECRET=four#five-six-seven-eight-nine-ten   # eleven
""",
    )
    settings = load({}, file)
    assert settings.host == "a.example.com"
    assert settings.cors_origins == ("https://a.example.com", "https://b.example.com")
    assert settings.workos_webhook_secrets == ('one#two"three',)
    assert settings.supabase_jwt_secret == "four#five-six-seven-eight-nine-ten"


def test_a_line_that_cannot_be_read_is_named_but_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('TENURE_HOST=a\nhunter2\nSTRIPE_SECRET_KEY="hunter2\n')
    found = problems({}, dotenv=file)
    assert found == {f"{file} line 2": "is not KEY=VALUE", f"{file} line 3": "is not KEY=VALUE"}


def test_a_missing_file_is_no_problem(tmp_path: Path) -> None:
    assert load({}, tmp_path / ".env") == load({})


def test_quotes_that_came_with_the_value_are_named() -> None:
    assert "quotes" in problems({"STRIPE_SECRET_KEY": '"sk_test_one"'})["STRIPE_SECRET_KEY"]


def test_secrets_are_never_shown() -> None:
    settings = load({v.name: v.example for v in FIELDS.values()})
    for name, variable in FIELDS.items():
        if variable.secret:
            assert f"{name}=***" in repr(settings)
    assert "password" not in repr(settings)
    assert "sk_test" not in str(settings)
    assert "stripe_secret_key=''" in repr(load({})), "what is not set is not masked"


def test_the_issuer_is_read_from_the_publishable_key() -> None:
    assert load(COMPLETE).clerk_issuer == "https://clerk.example.com"
    sandbox = {"CLERK_PUBLISHABLE_KEY": publishable("127.0.0.1:12112")}
    assert load(sandbox).clerk_issuer == "http://127.0.0.1:12112"
    given = {**COMPLETE, "CLERK_ISSUER": "https://other.example.com/"}
    assert load(given).clerk_issuer == "https://other.example.com"


def test_people_return_to_the_cors_origins_unless_told() -> None:
    cors = {"CORS_ORIGINS": "https://a.example.com/, http://LOCALHOST:3000"}
    assert load(cors).return_origins == ("https://a.example.com", "http://localhost:3000")
    told = {**cors, "TENURE_RETURN_ORIGINS": "https://b.example.com"}
    assert load(told).return_origins == ("https://b.example.com",)


def test_the_mode_comes_from_the_key_and_decides_the_rate() -> None:
    assert [load({"STRIPE_SECRET_KEY": k}).livemode for k in ("sk_live_a", "rk_test_a")] == [
        True,
        False,
    ]
    assert load({"STRIPE_SECRET_KEY": "rk_live_a"}).stripe_rate == 80
    assert load({"STRIPE_SECRET_KEY": "sk_test_live_a"}).stripe_rate == 20
    assert load({"STRIPE_SECRET_KEY": "sk_live_a", "TENURE_STRIPE_RATE": "5"}).stripe_rate == 5
    assert not is_live("")
    assert load({"CLERK_SECRET_KEY": "sk_live_a"}).clerk_rate == 80
    assert load({"CLERK_SECRET_KEY": "sk_test_a"}).clerk_rate == 8


def test_keys_of_two_modes_are_a_mix_up() -> None:
    """T1: a live key beside a test key is named before anything is sent."""
    live = {"STRIPE_SECRET_KEY": "sk_live_a", "CLERK_PUBLISHABLE_KEY": publishable("c.example.com")}
    assert "beside a test" in problems(live)["STRIPE_SECRET_KEY"]
    clerk = {"CLERK_SECRET_KEY": "sk_live_a", "CLERK_PUBLISHABLE_KEY": publishable("c.example.com")}
    assert "beside a live" in problems(clerk)["CLERK_PUBLISHABLE_KEY"]
    sandbox = {**live, "STRIPE_API_BASE": "http://127.0.0.1:12111"}
    assert load(sandbox).livemode, "the sandbox takes live keys"
    open_line = {"STRIPE_SECRET_KEY": "sk_live_a", "STRIPE_API_BASE": "http://stripe.example.com"}
    assert "unencrypted" in problems(open_line)["STRIPE_API_BASE"]


def test_what_a_command_needs_is_asked_for_with_all_other_problems() -> None:
    """T1: missing and malformed settings are told together."""
    found = problems({"TENURE_PORT": "x", "STRIPE_SECRET_KEY": "x"}, need="serve")
    assert list(found) == [
        "STRIPE_SECRET_KEY",
        "TENURE_PORT",
        "DATABASE_URL",
        "STRIPE_WEBHOOK_SECRET",
        "an identity provider",
    ]
    assert load(COMPLETE, need="serve").stripe_webhook_secrets == ("whsec_one",)
    with pytest.raises(BadSettings, match="DATABASE_URL: is not set; `tenure db` needs it"):
        require(Settings(), "db")


def test_a_bad_publishable_key_is_not_also_a_missing_provider() -> None:
    found = problems({**COMPLETE, "CLERK_PUBLISHABLE_KEY": "pk_test_x"}, need="serve")
    assert list(found) == ["CLERK_PUBLISHABLE_KEY"]


OIDC = {"TENURE_OIDC_ISSUER": "https://l.example.com/", "TENURE_OIDC_AUDIENCE": "api, other"}


@pytest.mark.parametrize(
    ("given", "trusted"),
    [
        ({"CLERK_PUBLISHABLE_KEY": publishable("c.example.com")}, ("clerk",)),
        ({"CLERK_ISSUER": "https://c.example.com"}, ("clerk",)),
        ({"WORKOS_CLIENT_ID": "client_1"}, ("workos",)),
        ({"SUPABASE_URL": "https://a.supabase.co"}, ("supabase",)),
        (OIDC, ("oidc",)),
    ],
)
def test_any_one_identity_provider_is_enough_to_serve(
    given: dict[str, str], trusted: tuple[str, ...]
) -> None:
    """T6: Clerk, WorkOS, Supabase Auth or any other issuer; none is a problem that names all."""
    bare = {name: value for name, value in COMPLETE.items() if name != "CLERK_PUBLISHABLE_KEY"}
    assert load({**bare, **given}, need="serve").trusted == trusted
    lacking = problems(bare, need="serve")["an identity provider"]
    for name in ("CLERK_PUBLISHABLE_KEY", "WORKOS_CLIENT_ID", "SUPABASE_URL", "TENURE_OIDC_ISSUER"):
        assert name in lacking


def test_a_supabase_database_beside_another_provider_opens_no_second_door() -> None:
    """Whoever signs up at Supabase Auth is nobody here, unless TENURE_IDENTITY says so."""
    both = {**COMPLETE, "SUPABASE_URL": "https://a.supabase.co"}
    assert load(both).trusted == ("clerk",)
    assert load({**both, "TENURE_IDENTITY": "supabase, Clerk"}).trusted == ("supabase", "clerk")


def test_half_an_identity_provider_is_named() -> None:
    found = problems({"TENURE_IDENTITY": "workos", "TENURE_OIDC_JWKS_URL": "https://a.example.com"})
    assert "TENURE_IDENTITY names workos" in found["WORKOS_CLIENT_ID"]
    assert "beside the other" in found["TENURE_OIDC_ISSUER"]
    lone = {"TENURE_OIDC_ISSUER": OIDC["TENURE_OIDC_ISSUER"]}
    assert "any application would pass" in problems(lone)["TENURE_OIDC_AUDIENCE"]
    assert load(OIDC).oidc_audiences == ("api", "other")


def test_the_name_of_an_issuer_keeps_its_slash() -> None:
    names = "https://api.workos.com/,https://auth.example.com"
    assert load({**OIDC, "WORKOS_ISSUER": names}).oidc_issuer == "https://l.example.com/"
    assert load({"WORKOS_ISSUER": names}).workos_issuers == tuple(names.split(","))


def test_webhook_secrets_and_session_keys_may_be_two_while_they_change() -> None:
    new, old = (base64.urlsafe_b64encode(bytes([n] * 32)).decode() for n in (251, 2))
    settings = load(
        {
            "CLERK_WEBHOOK_SECRET": "whsec_bmV3,whsec_b2xk",
            "WORKOS_WEBHOOK_SECRET": "new, old",
            "TENURE_SESSION_KEY": f"{new},{old}",
        }
    )
    assert settings.clerk_webhook_secrets == ("whsec_bmV3", "whsec_b2xk")
    assert settings.workos_webhook_secrets == ("new", "old")
    assert settings.session_keys == (new, old)


def test_supabase_mode_needs_no_database_but_this_release_cannot_serve_it() -> None:
    """T1: DATABASE_URL is optional in Supabase mode; where it is needed, the reason is said."""
    given = {
        **{k: v for k, v in COMPLETE.items() if k != "DATABASE_URL"},
        "SUPABASE_URL": "https://abcdefgh.supabase.co",
        "SUPABASE_SERVICE_ROLE_KEY": supabase_token("service_role"),
    }
    assert load(given).supabase_mode
    found = problems(given, need="serve")
    assert "this release needs it" in found["DATABASE_URL"].replace("`tenure serve` of ", "")


def test_a_direct_address_means_that_the_other_one_is_pooled() -> None:
    """B7: LISTEN and the worker go around the pooler."""
    settings = load({**COMPLETE, "DATABASE_DIRECT_URL": "host=db dbname=app"})
    assert settings.pooled
    assert settings.listen_url == "host=db dbname=app"
    assert load(COMPLETE).listen_url == COMPLETE["DATABASE_URL"]


def test_no_pool_is_so_small_that_the_inbox_has_it_all() -> None:
    with pytest.raises(BadSettings, match="TENURE_POOL_SIZE"):
        load({"TENURE_POOL_SIZE": "2"})
