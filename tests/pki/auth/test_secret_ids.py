"""Secret-ids: what bounds them, and that it holds however many logins come at once."""

from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from pki.storage.database import Database
from tests.pki.auth.house import House, together

ROLE = "approle/role/ci"
SECRETS = f"{ROLE}/secret-id"
ACCESSORS = f"{ROLE}/secret-id-accessor"
INVALID = "invalid role or secret ID"
CHOSEN = "c5eb2ba7-9a8b-4d6c-8f0e-1234567890ab"
LOGINS = 50


@pytest.fixture
def house(auth: House) -> House:
    """Give a house with the role ci, whose role-id is `ci-role`."""
    assert auth.ask("POST", ROLE, {"token_policies": ["deployer"], "role_id": "ci-role"})[0] == 204
    return auth


def _secret(house: House, body: object = None) -> dict[str, Any]:
    return house.data("POST", SECRETS, body)


def _login(house: House, secret_id: object, role_id: object = "ci-role", **more: Any) -> tuple[int, Any]:
    return house.log_in("approle/login", {"role_id": role_id, "secret_id": secret_id}, **more)


def _allowed(house: House, secret_id: str, **more: Any) -> bool:
    """Tell whether a login succeeds; one that fails has the one answer of all failures (A2)."""
    status, answer = _login(house, secret_id, **more)
    assert status == 200 or (status, answer["errors"]) == (400, [INVALID])
    return status == 200


# What bounds a secret-id


def test_of_fifty_logins_at_once_just_as_many_succeed_as_uses_were_left(house: House, migrated_url: str) -> None:
    """A11: in two workers, and the secret-id is gone after the last."""
    house.ask("POST", ROLE, {"secret_id_num_uses": 7})
    secret = _secret(house)["secret_id"]
    with closing(Database.open(migrated_url)) as database:
        workers = house, House(database, house.clock)
        allowed = together(LOGINS, lambda number: _allowed(workers[number % 2], secret))
    assert allowed.count(True) == 7
    assert not _allowed(house, secret)
    assert house.ask("LIST", SECRETS)[0] == 404
    succeeded = [found for found in house.events("approle.login") if found[1] == "success"]
    assert len(succeeded) == 7


def test_a_secret_id_of_any_number_of_uses_serves_all_at_once(house: House) -> None:
    """A11: they do not wait each other out."""
    secret = _secret(house)["secret_id"]
    assert together(LOGINS, lambda _: _allowed(house, secret)) == [True] * LOGINS


def test_no_login_succeeds_after_its_secret_id_was_destroyed(house: House) -> None:
    """A11: while others are under way, too."""
    secret = _secret(house)["secret_id"]

    def act(number: int) -> bool | None:
        if number:
            return _allowed(house, secret)
        assert house.ask("POST", f"{SECRETS}/destroy", {"secret_id": secret})[0] == 204
        return None

    together(12, act)
    assert not _allowed(house, secret)


def test_a_failure_takes_no_use(house: House) -> None:
    """Whoever knows the secret-id, but not the role-id or the network, cannot use it up."""
    house.ask("POST", ROLE, {"secret_id_num_uses": 1, "secret_id_bound_cidrs": "127.0.0.0/8"})
    secret = _secret(house)["secret_id"]
    assert not _allowed(house, secret, role_id="x")
    assert not _allowed(house, secret, remote="192.0.2.1")
    assert _allowed(house, secret)
    assert not _allowed(house, secret)


def test_a_secret_id_expires(house: House) -> None:
    """A11: to the moment, and what has expired is not told of either."""
    house.ask("POST", ROLE, {"secret_id_ttl": "10m"})
    secret = _secret(house)
    assert secret["secret_id_ttl"] == 600
    house.clock.advance(timedelta(minutes=10) - timedelta(milliseconds=1))
    assert _allowed(house, secret["secret_id"])
    house.clock.advance(timedelta(milliseconds=1))
    assert not _allowed(house, secret["secret_id"])
    assert house.ask("POST", f"{SECRETS}/lookup", {"secret_id": secret["secret_id"]}) == (204, None)
    accessor = {"secret_id_accessor": secret["secret_id_accessor"]}
    assert house.ask("POST", f"{ACCESSORS}/lookup", accessor)[0] == 404
    assert house.ask("LIST", SECRETS)[0] == 404


@pytest.mark.parametrize(
    ("networks", "remote", "expected"),
    [
        ("10.0.0.0/8", "10.255.255.255", True),
        ("10.0.0.0/8", "11.0.0.0", False),
        ("10.0.0.0/8,192.0.2.7/32", "192.0.2.7", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "10.1.2.3", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("0.0.0.0/0", "", False),
        ("0.0.0.0/0", "unix:", False),
    ],
)
def test_a_login_comes_from_a_network_of_the_role(house: House, networks: str, remote: str, expected: bool) -> None:
    """A11: what the role says now, and the secret-id's own networks, both hold."""
    secret = _secret(house)["secret_id"]
    assert house.ask("POST", ROLE, {"secret_id_bound_cidrs": networks})[0] == 204
    assert _allowed(house, secret, remote=remote) is expected
    bound = _secret(house, {"cidr_list": networks.split(",", maxsplit=1)[0]})["secret_id"]
    house.ask("POST", ROLE, {"secret_id_bound_cidrs": []})
    assert _allowed(house, bound, remote=remote) is (expected and remote != "192.0.2.7")


def test_the_address_is_that_of_the_connection(house: House) -> None:
    """A11: whatever a header says; anybody can write one."""
    house.ask("POST", ROLE, {"secret_id_bound_cidrs": "10.0.0.0/8"})
    secret = _secret(house)["secret_id"]
    headers = {"x_forwarded_for": "10.0.0.1", "forwarded": "for=10.0.0.1", "x_real_ip": "10.0.0.1"}
    assert not _allowed(house, secret, remote="192.0.2.1", **headers)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"num_uses": 6}, "num_uses cannot be higher than the role's secret_id_num_uses"),
        ({"num_uses": 0}, "num_uses cannot be higher than the role's secret_id_num_uses"),
        ({"ttl": "11m"}, "ttl cannot be longer than the role's secret_id_ttl"),
        ({"ttl": 0}, "ttl cannot be longer than the role's secret_id_ttl"),
        ({"cidr_list": "192.0.2.0/24"}, "cidr_list leaves the role's secret_id_bound_cidrs"),
        ({"cidr_list": "0.0.0.0/0"}, "cidr_list leaves the role's secret_id_bound_cidrs"),
        ({"cidr_list": "::/0"}, "cidr_list leaves the role's secret_id_bound_cidrs"),
        ({"cidr_list": "10.0.0.1"}, "has another spelling"),
        ({"cidr_list": "everywhere"}, "is no network"),
        ({"metadata": {"role_name": "root"}}, "metadata cannot say role_name"),
        ({"metadata": {"a": "x" * 1000}}, "metadata are short printable texts"),
        ({"metadata": {"a\n": "b"}}, "metadata are short printable texts"),
        ({"metadata": "{"}, "an object of texts is a JSON object"),
        ({"token_bound_cidrs": "10.0.0.0/8"}, "token_bound_cidrs is not supported"),
    ],
)
def test_a_secret_id_goes_no_further_than_its_role(house: House, body: object, message: str) -> None:
    """C07: whoever may make them cannot widen what the role says."""
    bounds = {"secret_id_num_uses": 5, "secret_id_ttl": "10m", "secret_id_bound_cidrs": "10.0.0.0/8,2001:db8::/32"}
    assert house.ask("POST", ROLE, bounds)[0] == 204
    status, answer = house.ask("POST", SECRETS, body)
    assert status == 400
    assert message in answer["errors"][0]
    assert house.ask("LIST", SECRETS)[0] == 404


def test_a_secret_id_may_be_bound_more_than_its_role_says(house: House) -> None:
    """And its answer says what holds, in whole numbers."""
    house.ask("POST", ROLE, {"secret_id_num_uses": 5, "secret_id_ttl": "10m", "secret_id_bound_cidrs": "10.0.0.0/8"})
    made = _secret(house, {"num_uses": "2", "ttl": "1m0s", "cidr_list": "10.1.0.0/16"})
    assert (made["secret_id_num_uses"], made["secret_id_ttl"]) == (2, 60)
    assert _allowed(house, made["secret_id"], remote="10.1.0.1")
    assert not _allowed(house, made["secret_id"], remote="10.2.0.1")


def test_a_secret_id_without_end_is_warned_of(house: House) -> None:
    """It is allowed, since people's tools need it; nobody has one without being told."""
    assert "never expires" in house.ask("POST", SECRETS)[1]["warnings"][0]
    assert house.ask("POST", SECRETS, {"ttl": "1h"})[1]["warnings"] is None
    assert _secret(house, {"ttl": "1ms"})["secret_id_ttl"] == 1


# Secret-ids


def test_a_secret_id_is_looked_up_by_itself_or_by_its_accessor(house: House) -> None:
    """E01: what clients read of it; neither answer has the secret-id."""
    made = _secret(house, {"metadata": {"a": "b"}, "num_uses": 3, "ttl": "1h", "cidr_list": ["127.0.0.1/32"]})
    _login(house, made["secret_id"])
    expected = {
        "cidr_list": ["127.0.0.1/32"],
        "creation_time": "2030-01-02T03:04:05.000Z",
        "expiration_time": "2030-01-02T04:04:05.000Z",
        "last_updated_time": "2030-01-02T03:04:05.000Z",
        "metadata": {"a": "b"},
        "secret_id_accessor": made["secret_id_accessor"],
        "secret_id_num_uses": 2,
        "secret_id_ttl": 3600,
        "token_bound_cidrs": [],
    }
    assert house.data("POST", f"{SECRETS}/lookup", {"secret_id": made["secret_id"]}) == expected
    accessor = {"secret_id_accessor": made["secret_id_accessor"]}
    assert house.data("POST", f"{ACCESSORS}/lookup", accessor) == expected
    assert house.data("LIST", SECRETS) == {"keys": [made["secret_id_accessor"]]}


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_secret_id_is_destroyed_by_itself_or_by_its_accessor(house: House, method: str) -> None:
    """One that is gone already is no error, an accessor that names nothing is."""
    one, other, third = _secret(house), _secret(house), _secret(house)
    for _ in range(2):
        assert house.ask(method, f"{SECRETS}/destroy", {"secret_id": one["secret_id"]})[0] == 204
    accessor = {"secret_id_accessor": other["secret_id_accessor"]}
    assert [house.ask(method, f"{ACCESSORS}/destroy", accessor)[0] for _ in range(2)] == [204, 404]
    assert [_allowed(house, made["secret_id"]) for made in (one, other, third)] == [False, False, True]


def test_a_secret_id_is_its_roles(house: House) -> None:
    """P5: nothing is told or destroyed by way of another role."""
    house.ask("POST", "approle/role/other", {})
    made = _secret(house)
    given = {"secret_id": made["secret_id"], "secret_id_accessor": made["secret_id_accessor"]}
    other = "approle/role/other/secret-id"
    assert house.ask("POST", f"{other}/lookup", given) == (204, None)
    assert house.ask("POST", f"{other}/destroy", given) == (204, None)
    assert house.ask("POST", f"{other}-accessor/lookup", given)[0] == 404
    assert house.ask("POST", f"{other}-accessor/destroy", given)[0] == 404
    assert _allowed(house, made["secret_id"])


@pytest.mark.parametrize("path", ["secret-id/lookup", "secret-id/destroy", "custom-secret-id", "role-id"])
def test_what_is_missing_is_named(house: House, path: str) -> None:
    """And an absent role is told of as one."""
    status, answer = house.ask("POST", f"{ROLE}/{path}", {})
    assert status == 400
    assert answer["errors"][0].startswith("missing ")
    body = {"secret_id": CHOSEN, "role_id": "x"}
    assert house.ask("POST", f"approle/role/nobody/{path}", body)[1]["errors"] == ['role "nobody" does not exist']


def test_a_secret_id_can_be_chosen(house: House) -> None:
    """Once a role; two roles may have the same one, and each login is of its own."""
    made = house.data("POST", f"{ROLE}/custom-secret-id", {"secret_id": CHOSEN, "metadata": {"a": "b"}})
    assert made["secret_id"] == CHOSEN
    assert house.ask("POST", f"{ROLE}/custom-secret-id", {"secret_id": CHOSEN})[0] == 400
    house.ask("POST", "approle/role/other", {"role_id": "other-role"})
    assert house.ask("POST", "approle/role/other/custom-secret-id", {"secret_id": CHOSEN})[0] == 200
    assert _login(house, CHOSEN)[1]["auth"]["metadata"] == {"a": "b", "role_name": "ci"}
    assert _login(house, CHOSEN, "other-role")[1]["auth"]["metadata"] == {"role_name": "other"}


def test_a_chosen_secret_id_can_come_again_after_it_has_expired(house: House) -> None:
    """The row of the old one is in nobody's way."""
    body = {"secret_id": CHOSEN, "ttl": "1m"}
    assert house.ask("POST", f"{ROLE}/custom-secret-id", body)[0] == 200
    house.clock.advance(timedelta(minutes=2))
    assert house.ask("POST", f"{ROLE}/custom-secret-id", body)[0] == 200
    assert _allowed(house, CHOSEN)


@pytest.mark.parametrize("secret", ["abcd", "x" * 31, "x" * 257, "with blanks " * 4, "\u00e9" * 40, "tab\t" * 10])
def test_a_chosen_secret_id_is_long_and_plain(house: House, secret: str) -> None:
    """It is digested, not hashed slowly: a short one could be guessed."""
    assert house.ask("POST", f"{ROLE}/custom-secret-id", {"secret_id": secret})[0] == 400


def test_expired_secret_ids_are_tidied_away(house: House) -> None:
    """Live ones stay; so does what never expires."""
    _secret(house, {"ttl": "1m"})
    kept = [_secret(house, {"ttl": "1h"}), _secret(house)]
    house.clock.advance(timedelta(minutes=2))
    status, answer = house.ask("POST", "approle/tidy/secret-id", {})
    assert (status, answer["warnings"]) == (202, ["expired and deleted: 1"])
    assert set(house.data("LIST", SECRETS)["keys"]) == {made["secret_id_accessor"] for made in kept}
    house.clock.advance(timedelta(hours=2))
    assert house.database.write(house.approles.delete_expired) == 1
