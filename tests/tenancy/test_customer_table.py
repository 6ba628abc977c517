"""tenure.stripe_customers: what the database itself refuses, and how it finds its rows."""

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from tenure.base.db import Tx
from tenure.billing import store
from tenure.billing.model import Owner
from tests.conftest import at, recreate
from tests.journal.plans import Explained

from .guard import Conn
from .rows import ADA, BOB, A, B

FILL = """
    INSERT INTO tenure.users (id, created_at, updated_at)
    SELECT md5('user' || n)::uuid, now(), now() FROM generate_series(1, 20000) n;
    INSERT INTO tenure.organizations (id, name, created_at, updated_at)
    SELECT md5('org' || n)::uuid, 'x', now(), now() FROM generate_series(1, 20000) n;
    INSERT INTO tenure.stripe_customers (user_id, stripe_customer_id, livemode, customer_email)
    SELECT md5('user' || n)::uuid, 'cus_user' || n, true, n || '@example.test'
      FROM generate_series(1, 20000) n;
    INSERT INTO tenure.stripe_customers (org_id, stripe_customer_id, livemode)
    SELECT md5('org' || n)::uuid, 'cus_org' || n, true FROM generate_series(1, 20000) n;
    ANALYZE;
    """


@pytest.fixture
def conn(admin: str, template: str) -> Iterator[Conn]:
    with psycopg.connect(at(admin, template), row_factory=dict_row) as opened:
        opened.execute(
            """
            INSERT INTO tenure.organizations (id, name, created_at, updated_at)
            VALUES (%s, 'a', now(), now()), (%s, 'b', now(), now())
            """,
            (A, B),
        )
        opened.execute(
            """
            INSERT INTO tenure.users (id, created_at, updated_at)
            VALUES (%s, now(), now()), (%s, now(), now())
            """,
            (ADA, BOB),
        )
        yield opened
        opened.rollback()


def put(conn: Conn, **changes: object) -> None:
    """Add a valid customer of organization A; name only the columns the test is about."""
    values = {"org_id": A, "stripe_customer_id": "cus_1", "livemode": True} | changes
    names = [sql.Identifier(name) for name in values]
    add = sql.SQL("INSERT INTO tenure.stripe_customers ({}) VALUES ({})").format(
        sql.SQL(", ").join(names), sql.SQL(", ").join(map(sql.Placeholder, values))
    )
    with conn.transaction():
        conn.execute(add, values)


def refused_by(refusal: pytest.ExceptionInfo[psycopg.Error]) -> str | None:
    return refusal.value.diag.constraint_name


@pytest.mark.parametrize(
    "bad",
    ["", "cus_", "CUS_1", "sub_1", "cus-1", "cus_1 ", " cus_1", "cus_1\n", "cus_é", "xcus_1",
     "cus_1\ncus_2"],
)  # fmt: skip
def test_a_malformed_id_is_refused(conn: Conn, bad: str) -> None:
    """A1, A8: malformed ids have a constraint."""
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        put(conn, stripe_customer_id=bad)
    assert refused_by(refusal) == "valid_stripe_id"


@pytest.mark.parametrize("bad", ["", "pm_", "cus_1", "pm-1", "pm_1\n", "tok_1"])
def test_a_malformed_payment_method_is_refused(conn: Conn, bad: str) -> None:
    """A1, A8."""
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        put(conn, default_payment_method=bad)
    assert refused_by(refusal) == "valid_payment_method"


@pytest.mark.parametrize("good", ["pm_1aB", "card_1", "src_1", "ba_1", None])
def test_every_kind_of_payment_method_of_stripe_is_taken(conn: Conn, good: str | None) -> None:
    """A1."""
    put(conn, default_payment_method=good)


@pytest.mark.parametrize(
    "owners", [{"org_id": None}, {"user_id": ADA}], ids=["no owner", "both owners"]
)
def test_a_customer_has_exactly_one_owner(conn: Conn, owners: dict[str, UUID | None]) -> None:
    """A1, A6, A8: no orphans, and a user or an organization, never both."""
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        put(conn, **owners)
    assert refused_by(refusal) == "one_owner"


@pytest.mark.parametrize(
    "owner", [{"org_id": UUID(int=99)}, {"org_id": None, "user_id": UUID(int=99)}]
)
def test_an_owner_must_exist(conn: Conn, owner: dict[str, UUID | None]) -> None:
    """A8: orphans have a constraint."""
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        put(conn, **owner)


@pytest.mark.parametrize("table", ["organizations", "users"])
def test_an_owner_with_a_customer_is_not_deleted(conn: Conn, table: str) -> None:
    """A8."""
    put(conn)
    put(conn, org_id=None, user_id=ADA, stripe_customer_id="cus_2")
    delete = sql.SQL("DELETE FROM {}").format(sql.Identifier("tenure", table))
    # RESTRICT has a code of its own on newer servers
    with pytest.raises((psycopg.errors.ForeignKeyViolation, psycopg.errors.RestrictViolation)):
        conn.execute(delete)


def test_an_id_belongs_to_one_owner(conn: Conn) -> None:
    """A1, A8: duplicates have a constraint."""
    put(conn)
    with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
        put(conn, org_id=B)
    assert refused_by(refusal) == "unique_stripe_id"


@pytest.mark.parametrize(
    ("owner", "index"),
    [
        ({"org_id": A}, "unique_org_customer"),
        ({"org_id": None, "user_id": ADA}, "unique_user_customer"),
    ],
)
def test_an_owner_has_one_living_customer_in_each_mode(
    conn: Conn, owner: dict[str, UUID | None], index: str
) -> None:
    """A1, A6, A8."""
    put(conn, **owner)
    put(conn, **owner, stripe_customer_id="cus_2", livemode=False)

    with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
        put(conn, **owner, stripe_customer_id="cus_3", generation=2)
    assert refused_by(refusal) == index


@pytest.mark.parametrize("owner", [{"org_id": A}, {"org_id": None, "user_id": ADA}])
def test_a_tombstone_makes_room_for_a_new_customer(
    conn: Conn, owner: dict[str, UUID | None]
) -> None:
    """A8: a customer deleted at Stripe stays as a tombstone."""
    put(conn, **owner)
    conn.execute("UPDATE tenure.stripe_customers SET deleted_at = now()")

    put(conn, **owner, stripe_customer_id="cus_2", generation=2)
    with pytest.raises(psycopg.errors.UniqueViolation):
        conn.execute("UPDATE tenure.stripe_customers SET deleted_at = NULL")


@pytest.mark.parametrize(
    "bad",
    [
        {"sync_status": "done"},
        {"sync_status": None},
        {"generation": 0},
        {"customer_metadata": "[]"},
        {"livemode": None},
    ],
    ids=str,
)
def test_nonsense_is_refused(conn: Conn, bad: dict[str, object]) -> None:
    """A1, A4: metadata and sync status are kept, and kept in form."""
    with pytest.raises(psycopg.IntegrityError):
        put(conn, **bad)


def test_a_new_customer_has_times_a_status_and_metadata(conn: Conn) -> None:
    """A1, A4."""
    put(conn)
    row = conn.execute("SELECT * FROM tenure.stripe_customers").fetchone()
    assert row is not None
    assert (row["sync_status"], row["customer_metadata"], row["generation"]) == ("pending", {}, 1)
    assert row["created_at"] == row["updated_at"]


@pytest.fixture(scope="module")
def filled(admin: str, template: str) -> Iterator[str]:
    name = f"{template}_customers"
    url = recreate(admin, name, template)
    with psycopg.connect(url, autocommit=True) as opened:
        opened.execute(FILL)
    yield url
    with psycopg.connect(at(url, "postgres"), autocommit=True) as opened:
        opened.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
async def explained(filled: str) -> AsyncIterator[Explained]:
    async with await Tx.connect(filled, row_factory=dict_row) as opened:
        yield Explained(opened)
        await opened.rollback()


async def _id_of(explained: Explained, stripe_customer_id: str) -> Owner:
    found = await store.get_by_stripe_id(explained, stripe_customer_id)  # type: ignore[arg-type]
    assert found is not None
    return found.owner


@pytest.mark.parametrize(
    ("customer", "index"),
    [("cus_org77", "unique_org_customer"), ("cus_user77", "unique_user_customer")],
)
async def test_the_customer_of_an_owner_is_found_by_its_index(
    explained: Explained, customer: str, index: str
) -> None:
    """A3: look-up by user, and by organization, with many rows."""
    owner = await _id_of(explained, customer)
    found = await store.get_customer(explained, owner, livemode=True)  # type: ignore[arg-type]

    assert found is not None
    assert found.stripe_customer_id == customer
    assert explained.scanned() == set(), explained.shown()
    assert explained.indexes() == {"unique_stripe_id", index}
