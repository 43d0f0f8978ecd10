"""Challenges over the wire: taken up, validated off the request, settled once."""

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from acme_server import challenges
from acme_server.application import serve
from acme_server.door import Door, open_door
from acme_server.duties import acme_duties
from acme_server.validation.pool import Pool
from pki.core import Core
from pki.storage.tables import acme_spent_nonces, audit_events
from tests.acme_server.client import Client, refused
from tests.acme_server.conftest import Prove
from tests.acme_server.validation.servers import DnsServer, HttpServer
from tests.clocks import FrozenClock

NAME = "www.example.com"
WELL_KNOWN = "/.well-known/acme-challenge/"


def _actions(core: Core) -> list[str]:
    with core.database.read() as tx:
        return list(tx.execute(select(audit_events.c.action).order_by(audit_events.c.at)).scalars())


def test_a_challenge_is_processing_at_once_and_points_to_its_authorization(
    client: Client, nameserver: DnsServer
) -> None:
    """RFC 8555 7.5.1: the answer does not wait for a slow validation: processing, Retry-After, Link rel=up."""
    order = client.order(NAME)
    nameserver.silent.add(NAME)
    challenge = order.challenge("http-01")
    begun = time.monotonic()
    response = client.post(challenge["url"], {})
    assert time.monotonic() - begun < 1.0
    assert response.get_json() == {**challenge, "status": "processing"}
    assert response.headers["Retry-After"] == "1"
    assert f'<{order.document["authorizations"][0]}>;rel="up"' in response.headers.getlist("Link")
    assert client.post(order.document["authorizations"][0]).headers["Retry-After"] == "1"
    assert client.post(challenge["url"]).get_json()["status"] == "processing"
    assert order.settled()["status"] == "invalid"


def test_a_met_challenge_makes_the_authorization_valid(client: Client, web: HttpServer, core: Core) -> None:
    """RFC 8555 7.1.4, 8: valid, with `validated`, and the deciding challenge alone; both steps are audited."""
    order = client.order(NAME)
    token = order.challenge("http-01")["token"]
    web.pages[WELL_KNOWN + token] = client.key_authorization(token).encode()
    found = order.attempt("http-01")
    assert (found["status"], len(found["challenges"])) == ("valid", 1)
    assert found["challenges"][0]["validated"].endswith("Z")
    assert web.seen[0][1]["host"] == f"{NAME}:{web.port}"
    actions = _actions(core)
    assert actions.count("acme.challenge.respond") == actions.count("acme.authorization.valid") == 1
    assert refused(client.post(order.url, {})) == (400, "malformed")


def test_a_failed_challenge_ends_the_authorization_and_the_order(client: Client, core: Core) -> None:
    """RFC 8555 7.1.6, 8.2: invalid, with the problem in challenge and order; nothing can be taken up again."""
    order = client.order(NAME)
    others = [order.challenge("dns-01")["url"], order.challenge("http-01")["url"]]
    found = order.attempt("http-01")
    assert (found["status"], [item["type"] for item in found["challenges"]]) == ("invalid", ["http-01"])
    error = found["challenges"][0]["error"]
    assert error["type"] == "urn:ietf:params:acme:error:incorrectResponse"
    assert order.status == "invalid"
    assert order.document["error"] == error
    assert refused(client.post(others[0], {})) == (400, "malformed")
    assert client.post(others[1], {}).get_json()["status"] == "invalid"
    assert _actions(core).count("acme.authorization.invalid") == 1
    assert client.get(f"{client.kid}/orders")["orders"] == []


def test_a_challenge_taken_up_many_times_is_validated_once(client: Client, web: HttpServer) -> None:
    """RFC 8555 7.5.1: repeated answers begin no second validation."""
    order = client.order(NAME)
    challenge = order.challenge("http-01")
    for _ in range(5):
        assert client.post(challenge["url"], {}).status_code == 200
    order.settled()
    assert web.connections == 1


def test_a_challenge_taken_up_in_parallel_is_validated_once(client: Client, web: HttpServer, core: Core) -> None:
    """RFC 8555 7.5.1: of eight answers at once one begins a validation."""
    order = client.order(NAME)
    challenge = order.challenge("http-01")
    bodies = [client.body(challenge["url"], {}, nonce=client.nonce()) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda body: client.send(challenge["url"], body), bodies))
    assert {item.status_code for item in answers} == {200}
    order.settled()
    assert web.connections == 1
    assert _actions(core).count("acme.challenge.respond") == 1


def test_a_quick_validation_is_answered_at_once(client: Client, web: HttpServer) -> None:
    """A client whose server answers quickly need not come back after a second."""
    order = client.order(NAME)
    challenge = order.challenge("http-01")
    web.pages[WELL_KNOWN + challenge["token"]] = client.key_authorization(challenge["token"]).encode()
    response = client.post(challenge["url"], {})
    assert response.get_json()["status"] == "valid"
    assert "Retry-After" not in response.headers


def test_few_requests_wait_for_validations() -> None:
    """D3: two requests may linger at once, a third is answered without waiting."""
    pool, never = Pool(), threading.Event()
    with ThreadPoolExecutor(8) as threads:
        begun = time.monotonic()
        waits = list(threads.map(lambda _: (pool.linger(never), time.monotonic() - begun)[1], range(8)))
    assert sum(wait >= 0.1 for wait in waits) == 2


def test_a_challenge_that_is_not_offered_is_not_there(client: Client) -> None:
    """X12: an address has no dns-01, a wildcard no http-01, whatever URL a client makes up."""
    for name, kind in (("ip:127.0.0.1", "dns-01"), ("*.example.com", "http-01"), ("*.example.com", "tls-alpn-01")):
        order = client.order(name)
        url = order.document["authorizations"][0].replace("/authorization/", "/challenge/") + f"/{kind}"
        assert refused(client.post(url, {})) == (404, "malformed")
        assert order.status == "pending"


def test_another_accounts_key_does_not_prove_it(client: Client, another: Client, web: HttpServer) -> None:
    """X12: the key authorization is that of the account whose authorization it is."""
    order = client.order(NAME)
    token = order.challenge("http-01")["token"]
    web.pages[WELL_KNOWN + token] = another.key_authorization(token).encode()
    assert order.attempt("http-01")["status"] == "invalid"


def test_an_authorization_given_up_during_validation_stays_so(
    client: Client, web: HttpServer, nameserver: DnsServer
) -> None:
    """X12: a result that comes after the deactivation does not count."""
    order = client.order(NAME)
    challenge = order.challenge("http-01")
    web.pages[WELL_KNOWN + challenge["token"]] = client.key_authorization(challenge["token"]).encode()
    gate = threading.Event()
    answer, web.handler = web.handler, lambda connection: (gate.wait(5), answer(connection))[1]
    assert client.post(challenge["url"], {}).get_json()["status"] == "processing"
    url = order.document["authorizations"][0]
    assert client.post(url, {"status": "deactivated"}).get_json()["status"] == "deactivated"
    gate.set()
    time.sleep(0.2)
    assert client.get(url)["status"] == "deactivated"
    assert order.status == "invalid"
    assert nameserver.asked[NAME, "A"] == 1


def test_an_authorization_is_deactivated_and_nothing_else(client: Client) -> None:
    """RFC 8555 7.5.2: any other change is malformed; what is invalid stays so."""
    order = client.order(NAME)
    url = order.document["authorizations"][0]
    for payload in ({}, {"status": "valid"}, {"status": ["deactivated"]}, {"status": None}, b"[]"):
        assert refused(client.post(url, payload)) == (400, "malformed")
    order.attempt("http-01")
    assert refused(client.post(url, {"status": "deactivated"})) == (400, "malformed")


def test_an_expired_authorization_takes_no_challenge(client: Client, house_clock: FrozenClock) -> None:
    """X12, RFC 8555 7.1.6: after its expiry nothing can be proven under it."""
    order = client.order(NAME)
    url = order.challenge("http-01")["url"]
    house_clock.advance(timedelta(days=7))
    assert refused(client.post(url, {})) == (400, "malformed")
    assert order.authorizations()[0]["status"] == "expired"


def test_a_challenge_takes_an_object(client: Client) -> None:
    """RFC 8555 7.5.1: `{}`; unknown members mean nothing; a list is malformed."""
    url = client.order(NAME).challenge("http-01")["url"]
    assert refused(client.post(url, b"[]")) == (400, "malformed")
    assert client.post(url, {"keyAuthorization": "x", "resource": 1}).get_json()["status"] != "pending"


def test_a_validation_whose_worker_died_is_begun_again(
    client: Client, door: Door, core: Core, web: HttpServer, house_clock: FrozenClock
) -> None:
    """The duties find a challenge that was left in processing, and finish it."""
    order = client.order(NAME)
    challenge = order.challenge("http-01")
    web.pages[WELL_KNOWN + challenge["token"]] = client.key_authorization(challenge["token"]).encode()
    dead = Pool()
    dead.close()
    crashing = Client(serve(dataclasses.replace(door, validations=dead)), client.key)
    crashing.kid = client.kid
    assert crashing.post(challenge["url"], {}).get_json()["status"] == "processing"
    assert challenges.restart_stuck(door) == 0
    house_clock.advance(timedelta(seconds=120))
    assert challenges.restart_stuck(door) == 1
    assert order.settled()["status"] == "valid"
    assert challenges.restart_stuck(door) == 0
    assert _actions(core).count("acme.authorization.valid") == 1


def test_an_account_with_too_many_waiting_validations_is_told_to_wait(client: Client, door: Door) -> None:
    """D3, RFC 8555 6.6: rateLimited with Retry-After; the challenge stays pending."""
    full = Pool(waiting=0)
    crowded = Client(serve(dataclasses.replace(door, validations=full)), client.key)
    crowded.kid = client.kid
    url = client.order(NAME).challenge("http-01")["url"]
    response = crowded.post(url, {})
    assert refused(response) == (429, "rateLimited")
    assert response.headers["Retry-After"] == "10"
    assert client.get(url)["status"] == "pending"


def test_the_duties_forget_old_nonces_and_can_be_repeated(client: Client, core: Core, house_clock: FrozenClock) -> None:
    """Spent nonces go once they are too old to be accepted anyway, and not before."""
    duties = acme_duties(core)
    client.get(client.kid)

    def spent() -> int:
        with core.database.read() as tx:
            return len(tx.execute(select(acme_spent_nonces.c.nonce)).all())

    def run() -> None:
        for duty in duties:
            duty.run()

    before = spent()
    run()
    assert spent() == before > 0
    house_clock.advance(timedelta(hours=2))
    run()
    run()
    assert spent() == 0


def test_one_account_does_not_hold_all_threads() -> None:
    """D3: while an account's validations hang, another's are carried out; in its turn each runs."""
    pool = Pool(threads=4, share=2)
    hang, done, ran = threading.Event(), threading.Event(), []
    for number in range(20):
        pool.submit("hostile", lambda number=number: (hang.wait(5), ran.append(number)))
    pool.submit("honest", done.set)
    assert done.wait(2)
    assert ran == []
    hang.set()
    pool.submit("honest", lambda: ran.append(-1))
    for _ in range(200):
        if len(ran) == 21:
            break
        time.sleep(0.01)
    pool.close()
    assert sorted(ran) == [-1, *range(20)]


def test_a_job_that_fails_costs_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    """What a job raises is logged, and the next one runs."""
    pool = Pool(threads=1, share=1)
    done = threading.Event()
    pool.submit("a", lambda: 1 / 0)
    pool.submit("a", done.set)
    assert done.wait(2)
    pool.close()
    assert "ZeroDivisionError" in caplog.text


def test_the_settings_of_validation_come_from_the_configuration(core: Core) -> None:
    """[acme.validation] reaches the validators."""
    door = open_door(core)
    config = core.config.acme.validation
    assert (door.validation.deadline, door.validation.allow) == (config.deadline, config.allow)
    assert door.order_lifetime == timedelta(days=core.config.acme.order_days)
    door.close()


def test_an_order_of_many_names_is_proven(client: Client, prove: Prove) -> None:
    """RFC 8555 7.4: every authorization must be valid before the order is ready."""
    assert len(prove(client, *[f"h{number}.example.com" for number in range(12)]).authorizations()) == 12
