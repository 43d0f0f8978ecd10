"""What `sys/health`, `seal-status`, `init`, `seal`, `unseal` and `leader` answer, by the state of the HSM.

The table stands in docs/decisions/0013-gateway.md.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from pki.api.gateway import serves
from pki.core import Core, open_core
from pki.errors import Misconfigured
from pki.storage.database import Database
from pki.storage.migrate import migrate
from tests.clocks import FrozenClock
from tests.databases import database_url, empty_database
from tests.house_fixture import configure
from tests.pki.api.gateway_client import Client
from tests.pki.api.gateway_fixtures import anonymous, events, house, root, things

__all__ = ["anonymous", "database_url", "empty_database", "house", "root", "things"]

SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
GO_CODES = "drsecondarycode=299&performancestandbycode=299&sealedcode=299&standbycode=299&standbyok=true&uninitcode=299"


@pytest.fixture(params=["the HSM is gone", "the keyring is locked"])
def sealing(request: pytest.FixtureRequest, house: Core, house_clock: FrozenClock) -> Callable[[], None]:
    """Give what seals the house: either way of it."""

    def seal() -> None:
        if request.param == "the HSM is gone":
            house.hsm.close()
        else:
            house.keyring.lock()
        house_clock.advance(timedelta(seconds=2))

    return seal


def test_health_with_the_hsm_present(anonymous: Client) -> None:
    """200, and JSON with what clients read; HEAD too."""
    answer = anonymous.get("sys/health")
    assert answer.status == 200
    document = answer.document
    assert (document["initialized"], document["sealed"], document["standby"]) == (True, False, False)
    assert isinstance(document["server_time_utc"], int)
    assert document["cluster_id"]
    assert anonymous.ask("HEAD", "sys/health").status == 200


def test_versions_are_semantic(anonymous: Client) -> None:
    """Terraform's provider ends itself where a version is not semantic."""
    versions = [anonymous.get(path).document["version"] for path in ("sys/health", "sys/seal-status")]
    assert all(SEMVER.fullmatch(version) for version in versions)
    assert re.fullmatch(r"1\.16\.0\+sealward\.\d+\.\d+\.\d+", versions[0])


def test_health_while_sealed(anonymous: Client, sealing: Callable[[], None]) -> None:
    """503, or what the client wants for that; the JSON stands either way."""
    assert anonymous.get("sys/health").status == 200
    sealing()
    answers = [anonymous.get("sys/health"), anonymous.get("sys/health", GO_CODES), anonymous.ask("HEAD", "sys/health")]
    assert [answer.status for answer in answers] == [503, 299, 503]
    assert answers[0].document["sealed"] is answers[1].document["sealed"] is True


def test_codes_are_statuses(anonymous: Client) -> None:
    """Each may be set, and only to what is a status."""
    assert anonymous.get("sys/health", "activecode=204").status == 204
    assert [anonymous.get("sys/health", f"activecode={code}").status for code in ("1", "x", "99999")] == [400] * 3


@contextmanager
def _unreachable(database: Database) -> Iterator[None]:
    """Let nobody connect to a database until the block ends."""
    if database.dialect == "sqlite":
        path = Path(str(database.url.database))
        path.rename(path.with_suffix(".away"))
        yield
        database.close()
        path.with_suffix(".away").rename(path)
        return
    server = database.url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database.url.database} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        yield
        connection.execute(f"ALTER DATABASE {database.url.database} ALLOW_CONNECTIONS true".encode())


def test_health_without_the_database(anonymous: Client, house: Core, house_clock: FrozenClock) -> None:
    """503 with JSON: nothing but what is in memory is needed to say so."""
    house.database.close()
    with _unreachable(house.database):
        house_clock.advance(timedelta(seconds=2))
        answer = anonymous.get("sys/health", GO_CODES)
        assert (answer.status, answer.document["initialized"]) == (503, True)
        assert anonymous.get("things/item/a").document["code"] == "unavailable"
        assert anonymous.send("GET", "/readyz").status == 503
    house_clock.advance(timedelta(seconds=2))
    assert anonymous.get("sys/health").status == 200


def test_seal_status_and_unseal_say_the_same(anonymous: Client, sealing: Callable[[], None]) -> None:
    """Unsealing takes no key shares: the HSM unseals, and the answer is how things are."""
    for is_sealed in (False, True):
        answers = [anonymous.get("sys/seal-status"), anonymous.ask("PUT", "sys/unseal", {"key": "c2hhcmU="})]
        assert [answer.status for answer in answers] == [200, 200]
        assert [answer.document["sealed"] for answer in answers] == [is_sealed, is_sealed]
        assert {"type", "initialized", "t", "n", "progress", "version", "storage_type"} <= answers[1].document.keys()
        sealing()


def test_a_key_share_that_is_sent_is_recorded_nowhere(anonymous: Client, house: Core) -> None:
    """L1: whoever takes this for another server gives nothing away."""
    anonymous.ask("PUT", "sys/unseal", {"key": "hunter2-share"})
    assert "hunter2" not in str(events(house))


def test_sealing_over_the_api_is_refused_by_name(root: Client, anonymous: Client) -> None:
    """A seal that only this process knew of would be a lie; who may not ask is denied as ever."""
    answer = root.ask("PUT", "sys/seal")
    assert (answer.status, answer.errors) == (400, ["sealing over the API is not supported"])
    assert "take its HSM away" in answer.document["advice"]
    assert anonymous.ask("PUT", "sys/seal").status == 403


def test_init_tells_and_never_does(anonymous: Client) -> None:
    """It is initialised; asking for it again names the command that would do it."""
    assert anonymous.get("sys/init").document == {"initialized": True}
    answer = anonymous.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
    assert (answer.status, answer.document["advice"]) == (400, "run `sealward init` on the server")


def test_what_was_never_initialised_does_not_start(
    empty_database: object, database_url: str, soft_token: object, tmp_path: object
) -> None:
    """So nothing is answered, not even 501: the command says what to run."""
    migrate(empty_database)  # type: ignore[arg-type] # a fixture's value
    config = configure(database_url, soft_token, tmp_path)  # type: ignore[arg-type] # as above
    with pytest.raises(Misconfigured, match="sealward init"):
        open_core(config)


def test_what_needs_the_hsm_is_503_while_it_is_gone(root: Client, sealing: Callable[[], None]) -> None:
    """What is stored in clear is still served; readiness says that something is missing."""
    sealing()
    assert root.get("sys/mounts").status == 200
    assert root.send("GET", "/readyz").status == 503


def test_every_replica_leads(anonymous: Client) -> None:
    """There is no standby."""
    document = anonymous.get("sys/leader").document
    assert (document["ha_enabled"], document["is_self"]) == (False, True)


def test_health_is_found_out_once_a_second(anonymous: Client, house: Core, house_clock: FrozenClock) -> None:
    """D3: what anybody may ask costs the HSM one look a second, whoever asks."""
    assert anonymous.get("sys/health").document["sealed"] is False
    house.keyring.lock()
    assert anonymous.get("sys/health").document["sealed"] is False
    house_clock.advance(timedelta(seconds=1))
    assert anonymous.get("sys/health").document["sealed"] is True


def test_liveness_and_readiness(anonymous: Client, house: Core, house_clock: FrozenClock) -> None:
    """/healthz needs nothing; /readyz needs database, HSM, clock and CRLs, and tells no reason."""
    house.crls.publish_due()
    assert anonymous.send("GET", "/healthz").body == b"ok\n"
    assert anonymous.send("GET", "/readyz").body == b"ready\n"
    verbose = anonymous.send("GET", "/readyz", query="verbose")
    assert verbose.body == b"database: ok\nhsm: ok\nclock: ok\ncrl: ok\nready\n"
    assert anonymous.send("HEAD", "/readyz").body == b""
    assert anonymous.send("POST", "/readyz").status == 405
    house_clock.advance(timedelta(days=2))
    answer = anonymous.send("GET", "/readyz", query="verbose")
    assert (answer.status, b"crl: failed" in answer.body) == (503, True)


def test_a_clock_that_stepped_back_is_not_ready(anonymous: Client, root: Client, house_clock: FrozenClock) -> None:
    """Nothing that carries a date would be made."""
    root.post("things/echo")
    house_clock.advance(timedelta(hours=-2))
    assert b"clock: failed" in anonymous.send("GET", "/readyz", query="verbose").body


def test_the_gateway_knows_its_own_paths() -> None:
    """One path has one entry: what the gateway serves, no other door does."""
    paths = ["/v1/x", "/v1", "/healthz", "/readyz", "/metrics", "/v10", "/acme/default/directory", "/healthz/x"]
    assert [path for path in paths if serves(path)] == paths[:5]
