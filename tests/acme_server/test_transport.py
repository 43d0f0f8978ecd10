"""What holds for every resource: methods, content type, URL, nonces, headers, and refusals as problem documents."""

import dataclasses
import json
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import cast

import pytest
from flask import Flask
from werkzeug.test import Client as WsgiClient

from acme_server.application import create_application, refusal, serve
from acme_server.door import Door, open_door
from acme_server.links import Links
from acme_server.problems import ProblemType
from pki.api.front import WsgiApplication
from pki.authority.profiles import Profiles
from pki.config import Config
from pki.core import Core, open_core
from tests.acme_server.client import JOSE, Client, problem_type, refused
from tests.acme_server.keys import KINDS, key
from tests.acme_server.signing import dump, header_of, sign
from tests.clocks import FrozenClock
from tests.house_fixture import BASE_URL

ID = "a" * 26
LINKS = Links(BASE_URL, "default")
POST_ONLY = [
    LINKS.new_account,
    LINKS.new_order,
    LINKS.revoke_cert,
    LINKS.key_change,
    LINKS.account(ID),
    LINKS.orders(ID),
    LINKS.order(ID),
    LINKS.finalize(ID),
    LINKS.authorization(ID),
    LINKS.challenge(ID, "http-01"),
    LINKS.challenge(ID, "dns-01"),
    LINKS.challenge(ID, "tls-alpn-01"),
    LINKS.certificate(ID),
]
INDEX = f'<{LINKS.directory}>;rel="index"'


def _path(url: str) -> str:
    return url.removeprefix(BASE_URL)


def test_the_directory_names_only_what_answers(client: Client) -> None:
    """RFC 8555 7.1.1: each URL of the directory answers; newAuthz is not named; the directory needs no signature."""
    response = client.http.get(_path(LINKS.directory))
    assert (response.status_code, response.content_type) == (200, "application/json")
    directory = response.get_json()
    assert directory.pop("meta") == {}
    assert set(directory) == {"newNonce", "newAccount", "newOrder", "revokeCert", "keyChange"}
    assert all(client.http.options(_path(url)).status_code == 204 for url in directory.values())
    assert all(url.startswith(BASE_URL) for url in directory.values())


def test_the_directory_names_the_terms_of_service(core: Core, door: Door) -> None:
    """RFC 8555 7.1.1: meta.termsOfService."""
    application = serve(_with_terms(door))
    meta = WsgiClient(application).get(_path(LINKS.directory)).get_json()["meta"]
    assert meta == {"termsOfService": "https://ca.example/terms"}
    assert core.config.acme.terms_of_service == ""


def _with_terms(door: Door) -> Door:
    return dataclasses.replace(door, terms_of_service="https://ca.example/terms")


def test_the_host_header_is_never_asked(application: WsgiApplication) -> None:
    """URLs come from the configuration, whatever the client says the host is."""
    for host in ("evil.example", "ca.example:1", "[::1]:9", "a b", "\u00fc.example"):
        response = WsgiClient(application).get(_path(LINKS.directory), headers={"Host": host})
        if response.status_code == 200:
            assert response.get_json()["newNonce"] == LINKS.new_nonce
        else:
            assert (response.status_code, response.content_type) == (400, "application/problem+json")
        assert "evil" not in response.get_data(as_text=True)


def test_new_nonces_are_had_by_head_and_get(client: Client) -> None:
    """RFC 8555 7.2: HEAD 200, GET 204, both with a nonce, no-store and the index; each nonce is another."""
    answers = [client.http.head(_path(LINKS.new_nonce)), client.http.get(_path(LINKS.new_nonce))]
    assert [item.status_code for item in answers] == [200, 204]
    assert all(item.headers["Cache-Control"] == "no-store" for item in answers)
    assert all(item.headers["Link"] == INDEX for item in answers)
    assert len({item.headers["Replay-Nonce"] for item in answers}) == 2


def test_directory_and_nonces_are_had_by_post_as_get_too(client: Client) -> None:
    """RFC 8555 6.3: GET is allowed there in addition to POST-as-GET."""
    assert client.get(LINKS.directory)["newOrder"] == LINKS.new_order
    response = client.post(LINKS.new_nonce)
    assert response.status_code == 204
    assert response.headers["Replay-Nonce"]
    assert refused(client.post(LINKS.directory, {})) == (400, "malformed")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_nothing_is_read_without_a_signature(client: Client, method: str) -> None:
    """X14, RFC 8555 6.3: other methods than POST get 405, malformed, with Allow, whether the object exists or not."""
    for url in POST_ONLY:
        response = client.http.open(_path(url), method=method)
        assert response.status_code == 405
        assert response.headers["Allow"] == "POST"
        if method != "HEAD":
            assert problem_type(response) == "malformed"


def test_an_order_of_this_house_is_not_readable_by_get(client: Client) -> None:
    """X14: an unauthenticated GET of an order, its authorization and its account tells nothing."""
    order = client.order("secret.example.com")
    for url in (order.url, *order.document["authorizations"], client.kid, f"{client.kid}/orders"):
        response = client.http.get(_path(url))
        assert response.status_code == 405
        assert "secret" not in response.get_data(as_text=True)


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "", "application/jose", "multipart/form-data"]
)
def test_another_content_type_is_415(client: Client, content_type: str) -> None:
    """RFC 8555 6.2: application/jose+json or 415."""
    response = client.send(LINKS.new_order, client.body(LINKS.new_order, {}), content_type)
    assert refused(response) == (415, "malformed")


NOWHERE = [
    "/",
    "/acme",
    "/acme/",
    "/acme/default",
    "/acme/default/",
    "/acme/default/directory/",
    "/acme//directory",
    "/acme/default/new-authz",
    "/acme/no-such/directory",
    "/acme/server/directory",
    "/acme/intermediate/new-nonce",
    "/acme/default/order/short",
    "/acme/default/order/" + "A" * 26,
    "/acme/default/challenge/" + ID + "/http-02",
    "/acme/" + "x" * 300 + "/directory",
    "/acme/a%00b/directory",
    "/static/x",
]


def test_what_there_is_not_is_a_problem_too(client: Client) -> None:
    """RFC 8555 6.7: 404 as problem+json with a nonce; profiles for other doors have no directory."""
    for path in NOWHERE:
        assert refused(client.http.get(path)) == (404, "malformed")
        assert client.http.post(path, data=b"x", content_type=JOSE).status_code in {400, 404}


def test_a_request_for_another_url_is_unauthorized(client: Client) -> None:
    """X14, RFC 8555 6.4: url must be the request's own URL, to the letter."""
    for url in (
        LINKS.key_change,
        LINKS.new_order + "?x=1",
        LINKS.new_order.replace("https", "http"),
        LINKS.new_order.replace("8443", "443"),
        LINKS.new_order.upper(),
        "x",
    ):
        body = client.body(url, {})
        assert refused(client.send(LINKS.new_order, body)) == (403, "unauthorized")
    asked_with_query = client.http.post(
        _path(LINKS.new_order) + "?x=1", data=client.body(LINKS.new_order, {}), content_type=JOSE
    )
    assert asked_with_query.status_code == 403


def test_kid_and_jwk_have_their_places(client: Client) -> None:
    """X14, RFC 8555 6.2: newAccount takes a jwk, all else a kid; a request with the other one is malformed."""
    bare = Client(client.application)
    assert refused(bare.post(LINKS.new_order, {})) == (400, "malformed")
    assert refused(bare.post(LINKS.order(ID))) == (400, "malformed")
    assert refused(client.post(LINKS.new_account, {})) == (400, "malformed")


NO_ACCOUNTS = [
    LINKS.account(ID),
    Links(BASE_URL, "other").account(ID),
    LINKS.account("b" * 25),
    "https://evil.example/acme/default/account/" + ID,
    LINKS.account("' OR 1=1 --"),
    "x",
]


def test_a_kid_that_is_no_account_here_does_not_exist(client: Client) -> None:
    """RFC 8555 6.2, 7.3: accountDoesNotExist with 400."""
    for kid in NO_ACCOUNTS:
        assert refused(client.post(LINKS.new_order, {}, kid=kid)) == (400, "accountDoesNotExist")


def test_another_accounts_kid_does_not_verify(client: Client, another: Client) -> None:
    """X14: the kid's own key must have signed."""
    assert refused(client.post(LINKS.new_order, {}, kid=another.kid)) == (400, "malformed")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_account_key_serves(application: WsgiApplication, kind: str) -> None:
    """RFC 8555 6.2: ES256 must and EdDSA should be supported; RS256 is what some clients have."""
    made = Client(application, key(kind))
    assert made.register().status_code == 201
    assert made.get(made.kid)["status"] == "valid"


def test_a_mac_or_no_signature_is_refused_with_the_list(client: Client) -> None:
    """X14, RFC 8555 6.2: badSignatureAlgorithm names the algorithms that are accepted."""
    for alg in ("none", "HS256"):
        response = client.post(LINKS.new_order, {}, alg=alg)
        assert refused(response) == (400, "badSignatureAlgorithm")
        assert "ES256" in response.get_json()["algorithms"]


def test_all_answers_have_the_headers_they_must(client: Client) -> None:
    """RFC 8555 6.1, 6.5, 7.1: CORS, a fresh nonce and the index on good answers, refusals and errors alike."""
    order = client.order("a.example.com")
    answers = [
        client.post(order.url),
        client.post(order.document["authorizations"][0]),
        client.post(LINKS.order(ID)),
        client.post(LINKS.new_order, {}),
        client.http.get(_path(LINKS.order(ID))),
        client.http.get("/nowhere"),
    ]
    assert len({item.headers["Replay-Nonce"] for item in answers}) == len(answers)
    assert all(item.headers["Access-Control-Allow-Origin"] == "*" for item in answers)
    assert all(item.headers["Cache-Control"] == "no-store" for item in answers)
    assert all(INDEX in item.headers.getlist("Link") for item in answers[:5])
    assert "Link" not in client.http.get(_path(LINKS.directory)).headers


def test_a_nonce_is_taken_once_and_the_refusal_brings_another(client: Client) -> None:
    """X14, RFC 8555 6.5: badNonce with a nonce that is good, also when the old one is malformed or missing."""
    body = client.body(client.kid)
    assert client.send(client.kid, body).status_code == 200
    response = client.send(client.kid, body)
    assert refused(response) == (400, "badNonce")
    assert client.post(client.kid, nonce=response.headers["Replay-Nonce"]).status_code == 200
    assert refused(client.post(client.kid, nonce="AAAA")) == (400, "badNonce")


def test_a_bad_signature_does_not_spend_the_nonce(client: Client) -> None:
    """X14: nobody without the key can make a client's nonce useless."""
    nonce = client.nonce()
    header = header_of(Client(client.application).key, nonce=nonce, url=client.kid, kid=client.kid, jwk=None)
    forged = dump(sign(Client(client.application).key, header, b""))
    assert refused(client.send(client.kid, forged)) == (400, "malformed")
    assert client.post(client.kid, nonce=nonce).status_code == 200


def test_of_200_replays_over_two_replicas_one_wins(
    client: Client, house_config: Config, house_clock: FrozenClock, core: Core
) -> None:
    """X14: one signed request sent 200 times in parallel to two replicas is answered exactly once."""
    assert core.config == house_config
    second = open_core(house_config, house_clock)
    try:
        doors = [open_door(core), open_door(second)]
        replicas = [WsgiClient(serve(door)) for door in doors]
        body = client.body(client.kid)

        def send(number: int) -> int:
            replica = WsgiClient(replicas[number % 2].application)
            return replica.post(_path(client.kid), data=body, content_type=JOSE).status_code

        with ThreadPoolExecutor(20) as threads:
            statuses = list(threads.map(send, range(200)))
        for door in doors:
            door.close()
    finally:
        second.close()
    assert statuses.count(200) == 1
    assert statuses.count(400) == 199


def test_a_large_request_is_413(client: Client) -> None:
    """D1: a body beyond the limit is refused unread."""
    assert refused(client.send(LINKS.new_order, b"{" * (1 << 20))) == (413, "malformed")
    response = client.http.post(
        _path(LINKS.new_order), data=b"x", content_type=JOSE, environ_overrides={"CONTENT_LENGTH": str(1 << 30)}
    )
    assert refused(response) == (413, "malformed")


DEEP = b"[" * 60000 + b"]" * 60000


BOMBS = [
    b'{"a":' + DEEP[:30000] + b"}",
    b'{"contact":[],"contact":[]}',
    b'{"a":NaN}',
    b'{"a":1e999}',
    b'{"a":' + b"9" * 60000 + b"}",
    b'{"a":"\\ud800"}',
    b'{"contact":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b"\xff\xfe{}",
    b"[]",
    b"null",
]


def test_json_bombs_are_malformed(client: Client) -> None:
    """D1: depth, duplicate members, NaN, huge numbers, broken text: 400, at once."""
    for payload in BOMBS:
        begun = time.monotonic()
        assert refused(client.post(client.kid, payload)) == (400, "malformed")
        assert refused(client.send(client.kid, payload)) == (400, "malformed")
        assert time.monotonic() - begun < 2.0


def test_many_members_and_strings_are_read_and_ignored(client: Client) -> None:
    """D1: as many members as fit into a request do no harm."""
    payload = json.dumps({f"k{number}": "x" for number in range(5000)}).encode()
    assert client.post(client.kid, payload).status_code == 200


def test_browsers_may_ask_whether_they_may(client: Client) -> None:
    """RFC 8555 6.1: a CORS preflight is answered."""
    response = client.http.options(_path(LINKS.new_order))
    assert response.status_code == 204
    assert response.headers["Access-Control-Allow-Headers"] == "Content-Type"
    assert response.headers["Access-Control-Allow-Methods"] == "POST"


def test_what_the_operator_must_mend_is_503_and_tells_the_client_nothing(
    client: Client, core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    """D4: a profile that cannot be read is the operator's to mend: the log names it, the answer does not show it."""
    nonce = client.nonce()
    core.database.write(lambda tx: tx.exec_driver_sql("DELETE FROM profiles"))
    core.database.write(
        lambda tx: tx.exec_driver_sql(
            "INSERT INTO profiles (namespace_id, name, version, document, created_at) "
            "VALUES ('root', 'default', 7, '{\"secret\": 1}', 0)"
        )
    )
    response = client.post(LINKS.new_order, {"identifiers": [{"type": "dns", "value": "a.example"}]}, nonce=nonce)
    assert refused(response) == (503, "serverInternal")
    assert "secret" not in response.get_data(as_text=True)
    assert "profile default" in caplog.text


def test_a_fault_of_our_own_is_logged_with_its_request_id(
    door: Door, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """D4: what nobody foresaw is a bare 500, from either dispatcher; the id in the answer is the one in the log."""
    broken = Client(serve(dataclasses.replace(door, profiles=cast("Profiles", None))), client.key)
    broken.kid = client.kid
    order = broken.post(LINKS.new_order, {}, nonce=client.nonce())
    for response in (broken.http.get(_path(LINKS.directory)), order):
        assert refused(response) == (500, "serverInternal")
        detail = response.get_json()["detail"]
        request_id = detail.rpartition(" ")[2]
        assert request_id in caplog.text
        assert "AttributeError" in caplog.text
        assert "attribute" not in detail


def test_each_path_has_one_entry(door: Door) -> None:
    """What the short way serves, Flask does not route; together they serve every resource."""
    application = serve(door)
    assert isinstance(application, Flask)
    in_flask = application.url_map.bind("ca.example")
    short = {"new-order", "order", "authorization", "challenge", "certificate"}
    for url in POST_ONLY:
        served = in_flask.test(_path(url), "POST")
        assert served == (_path(url).split("/")[3] not in short)


def test_the_front_refuses_in_the_dialect_of_the_door() -> None:
    """What is refused before this application is called is a problem document, or plain text outside /acme/."""
    content_type, body = refusal("/acme/default/new-order", HTTPStatus.REQUEST_TIMEOUT, "too slow")
    assert content_type == "application/problem+json"
    assert json.loads(body) == {"type": ProblemType.MALFORMED.urn, "detail": "too slow", "status": 408}
    assert refusal("/x", HTTPStatus.BAD_REQUEST, "no")[0].startswith("text/plain")


def test_the_application_is_made_from_the_core(core: Core) -> None:
    """`create_application` gives a WSGI callable that answers."""
    response = WsgiClient(create_application(core)).get(_path(LINKS.directory))
    assert response.get_json()["newNonce"] == f"{BASE_URL}/acme/default/new-nonce"
