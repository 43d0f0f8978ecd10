"""The service's PostgreSQL role can do its work, and cannot rewrite what was issued or logged."""

import dataclasses
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError

from pki.authority.issue import Wanted
from pki.authority.names import Name
from pki.config import Config
from pki.core import Core, open_core
from pki.errors import Misconfigured
from pki.storage.database import Database
from pki.storage.grants import grant
from tests import postgres

ROLE = "sealward service"


@pytest.fixture(params=["postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Roles are PostgreSQL's alone."""
    return str(request.param)


@pytest.fixture
def served(house_config: Config, request: pytest.FixtureRequest) -> Iterator[Core]:
    """Give a founded house, opened by a role that got the service's grants and nothing else."""
    server = postgres.server(request.config)
    server.run(f'CREATE ROLE "{ROLE}" LOGIN')
    owner = Database.open(house_config.database.url)
    try:
        grant(owner, ROLE)
        grant(owner, ROLE)  # again, as each migration does
        url = make_url(house_config.database.url).set(username=ROLE).render_as_string(hide_password=False)
        core = open_core(
            dataclasses.replace(house_config, database=dataclasses.replace(house_config.database, url=url))
        )
        yield core
        core.close()
    finally:
        owner.write(lambda tx: tx.execute(text(f'DROP OWNED BY "{ROLE}"')))
        owner.close()
        server.run(f'DROP ROLE "{ROLE}"')


def test_the_service_does_its_work_as_that_role(served: Core) -> None:
    """A14: it issues, revokes, publishes, elects, reconciles and makes keys of its own."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    entry = served.gate.issue(Wanted("default", key, (Name("dns", "a.example"),), "test:grants"))
    served.revocation.revoke(entry, 1, "test:grants")
    assert served.crls.publish_due() >= 1
    assert served.reconciler.run() == 0
    assert served.server_certificate.renew_if_due()
    assert len(served.service_keys.get("another")) == 32
    served.tokens.make("root", ("root",), None)
    assert served.tokens.revoke_kind("root") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM certificates",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "UPDATE certificates SET tbs = '\\x00'",
        "UPDATE certificates SET serial = '00'",
        "UPDATE audit_events SET detail = '{}'",
        "UPDATE audit_events SET actor = 'nobody'",
        "UPDATE crls SET tbs = '\\x00'",
        "DELETE FROM crls",
        "DELETE FROM blocked_keys",
        "DELETE FROM issuers",
        "ALTER TABLE certificates DISABLE TRIGGER USER",
        "DROP TABLE certificates",
        "CREATE TABLE mine (x int)",
        "UPDATE alembic_version SET version_num = '0000'",
    ],
)
def test_it_cannot_rewrite_what_was_done(served: Core, statement: str) -> None:
    """CA11: the database itself refuses, whatever the program is made to say."""
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        served.database.write(lambda tx: tx.execute(text(statement)))


@pytest.mark.parametrize(
    ("role", "why"), [("no such role", "there is no role"), ("sealward", "superuser")], ids=["absent", "superuser"]
)
def test_a_role_that_cannot_be_bounded_is_refused(house_config: Config, role: str, why: str) -> None:
    """One clear line: make the role first; a superuser is not an ordinary role."""
    owner = Database.open(house_config.database.url)
    try:
        with pytest.raises(Misconfigured, match=why):
            grant(owner, role)
    finally:
        owner.close()


def test_sqlite_has_no_roles(tmp_path: object, opened: Callable[[str], Database]) -> None:
    """The option is refused there, with the reason."""
    with pytest.raises(Misconfigured, match="knows no roles"):
        grant(opened(f"sqlite:///{tmp_path}/house.db"), ROLE)


@pytest.fixture
def opened() -> Iterator[Callable[[str], Database]]:
    """Give a function that opens databases, and close them afterwards."""
    databases: list[Database] = []

    def open_one(url: str) -> Database:
        databases.append(Database.open(url))
        return databases[-1]

    yield open_one
    for database in databases:
        database.close()
