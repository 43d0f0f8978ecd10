"""Machines: roles, and what a login by role-id and secret-id gives."""

from typing import Any

import pytest

from tests.pki.auth.house import House, together

ROLE = "approle/role/ci"
SECRETS = f"{ROLE}/secret-id"
INVALID = "invalid role or secret ID"
CHOSEN = "c5eb2ba7-9a8b-4d6c-8f0e-1234567890ab"


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


# Log in


def test_a_login_gives_a_token_of_the_roles_policies(house: House) -> None:
    """C07: an hour, the policies and default, and the role's name; the token is good at once."""
    secret = _secret(house, {"metadata": '{"host": "runner-7"}'})
    status, answer = _login(house, secret["secret_id"])
    auth = answer["auth"]
    assert status == 200
    assert auth["policies"] == ["default", "deployer"]
    assert auth["metadata"] == {"host": "runner-7", "role_name": "ci"}
    assert (auth["lease_duration"], auth["renewable"], auth["orphan"], auth["num_uses"]) == (3600, True, True, 0)
    told = house.self_of(auth["client_token"])
    assert (told["display_name"], told["path"]) == ("approle", "auth/approle/login")


def test_every_failure_has_the_same_answer(house: House) -> None:
    """A2: a wrong role-id, a wrong secret-id, another role's, or what can be none of them."""
    house.ask("POST", "approle/role/other", {"role_id": "other-role"})
    good = _secret(house)["secret_id"]
    tries = [("x", "ci-role"), (good, "x"), (good, "other-role"), (good, "CI-ROLE"), (f"{good} ", "ci-role")]
    tries += [(good.swapcase(), "ci-role"), (good, "ci-role "), (good, "r\u00f4le"), ("s" * 100_000, "ci-role")]
    answers = [_login(house, *pair) for pair in tries]
    bodies = [{name: value for name, value in body.items() if name != "request_id"} for _, body in answers]
    assert {status for status, _ in answers} == {400}
    assert bodies == [bodies[0]] * len(bodies)
    assert bodies[0]["errors"] == [INVALID]


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_login_says_what_is_missing(house: House, nothing: str | None) -> None:
    """That tells nothing about any role."""
    assert _login(house, "x", nothing)[1]["errors"] == ["missing role_id"]
    assert _login(house, nothing)[1]["errors"] == ["missing secret_id"]
    assert house.log_in("approle/login", None)[0] == 400


def test_what_was_said_of_tokens_holds_of_them(house: House) -> None:
    """Lifetime, maximum, number of uses, and no policy default."""
    terms = {"token_ttl": "10m", "token_max_ttl": "20m", "token_num_uses": 7, "token_no_default_policy": True}
    assert house.ask("POST", ROLE, terms)[0] == 204
    auth = _login(house, _secret(house)["secret_id"])[1]["auth"]
    assert (auth["lease_duration"], auth["num_uses"], auth["policies"]) == (600, 7, ["deployer"])


@pytest.mark.parametrize(
    "body", [b"{", b'{"role_id": 1e999}', b'{"role_id": {}}', b"\xff", b'{"secret_id": "\\u0000"}']
)
def test_a_login_that_makes_no_sense_is_refused(house: House, body: bytes) -> None:
    """400, never a 500: strangers send anything."""
    assert house.log_in("approle/login", body)[0] == 400


# Roles


def test_a_role_is_read_as_it_was_written(house: House) -> None:
    """E01: the members that clients of the Vault HTTP API know; a write changes what it names, and nothing else."""
    house.ask("POST", ROLE, {"secret_id_num_uses": 5, "secret_id_bound_cidrs": "10.0.0.0/8", "bind_secret_id": True})
    house.ask("POST", ROLE, {"secret_id_ttl": "10m", "token_ttl": 60, "token_type": "service", "period": ""})
    assert house.data("GET", ROLE) == {
        "bind_secret_id": True,
        "local_secret_ids": False,
        "secret_id_bound_cidrs": ["10.0.0.0/8"],
        "secret_id_num_uses": 5,
        "secret_id_ttl": 600,
        "token_bound_cidrs": [],
        "token_explicit_max_ttl": 0,
        "token_max_ttl": 0,
        "token_no_default_policy": False,
        "token_num_uses": 0,
        "token_period": 0,
        "token_policies": ["deployer"],
        "token_strictly_bind_ip": False,
        "token_ttl": 60,
        "token_type": "default",
    }


def test_roles_are_listed_and_deleted(house: House) -> None:
    """An empty list is absent; a role that there is not is no error to delete."""
    house.ask("POST", "approle/role/build", {})
    assert house.data("LIST", "approle/role") == {"keys": ["build", "ci"]}
    for name in ("build", "ci", "never.was"):
        assert house.ask("DELETE", f"approle/role/{name}")[0] == 204
    assert house.ask("LIST", "approle/role")[0] == 404
    assert house.ask("GET", ROLE)[0] == 404


def test_a_deleted_roles_secret_ids_let_nobody_in_again(house: House) -> None:
    """Nor when the name and the role-id come back."""
    secret = _secret(house)["secret_id"]
    house.ask("DELETE", ROLE)
    assert not _allowed(house, secret)
    house.ask("POST", ROLE, {"role_id": "ci-role"})
    assert not _allowed(house, secret)
    assert house.ask("LIST", SECRETS)[0] == 404


def test_a_role_that_goes_while_secret_ids_are_made_leaves_none(house: House) -> None:
    """The same, where they are made at that very moment."""

    def act(number: int) -> str | None:
        if number == 3:
            assert house.ask("DELETE", ROLE)[0] == 204
            return None
        status, answer = house.ask("POST", SECRETS)
        assert status in {200, 404}
        return str(answer["data"]["secret_id"]) if status == 200 else None

    made = [secret for secret in together(8, act) if secret]
    house.ask("POST", ROLE, {"role_id": "ci-role"})
    assert house.ask("LIST", SECRETS)[0] == 404
    assert not any(_allowed(house, secret) for secret in made)


def test_a_role_id_is_random_unless_it_is_chosen(house: House) -> None:
    """It can be replaced; the old one lets nobody in any more."""
    house.ask("POST", "approle/role/build", {})
    assert len(house.data("GET", "approle/role/build/role-id")["role_id"]) == 26
    secret = _secret(house)["secret_id"]
    assert house.ask("POST", f"{ROLE}/role-id", {"role_id": "Other.role_1"})[0] == 204
    assert house.data("GET", f"{ROLE}/role-id") == {"role_id": "Other.role_1"}
    assert (_allowed(house, secret), _allowed(house, secret, role_id="Other.role_1")) == (False, True)


def test_a_role_id_is_one_roles(house: House) -> None:
    """Else a login could be of either; two who choose the same at once do not both get it."""
    assert house.ask("POST", "approle/role/b", {"role_id": "ci-role"})[1]["errors"] == ["role_id already in use"]
    names = [f"r{number}" for number in range(6)]
    for name in names:
        house.ask("POST", f"approle/role/{name}", {})
    paths = [f"approle/role/{name}/role-id" for name in names]
    statuses = together(6, lambda number: house.ask("POST", paths[number], {"role_id": "wanted"})[0])
    assert sorted(statuses) == [204, *[400] * 5]


@pytest.mark.parametrize("role_id", ["", "a b", "r\u00f4le", "x" * 129, "a/b", "a\n"])
def test_a_role_id_has_one_spelling(house: House, role_id: str) -> None:
    """Printable, short, and without blanks."""
    assert house.ask("POST", f"{ROLE}/role-id", {"role_id": role_id})[0] == 400
    assert house.data("GET", f"{ROLE}/role-id") == {"role_id": "ci-role"}


@pytest.mark.parametrize("name", ["CI", "ci ", "-ci", "c*", "a" * 129, "c\N{LATIN SMALL LETTER DOTLESS I}", "ci,cd"])
def test_a_role_has_one_spelling(house: House, name: str) -> None:
    """A1: what is not canonical is neither made nor found."""
    assert house.ask("POST", f"approle/role/{name}", {})[0] == 400
    assert house.ask("GET", f"approle/role/{name}")[0] in {400, 404}
    assert house.data("LIST", "approle/role") == {"keys": ["ci"]}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("bind_secret_id", False),
        ("local_secret_ids", True),
        ("enable_local_secret_ids", True),
        ("bound_cidr_list", "10.0.0.0/8"),
        ("token_bound_cidrs", "10.0.0.0/8"),
        ("token_strictly_bind_ip", True),
        ("token_period", "1h"),
        ("period", "1h"),
        ("token_type", "batch"),
        ("token_type", "default-batch"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_name(house: House, member: str, value: object) -> None:
    """A restriction that were left out in silence would give more than its author meant."""
    status, answer = house.ask("POST", ROLE, {member: value})
    assert status == 400
    assert member in f"{answer['errors']} {answer['advice']}"


@pytest.mark.parametrize(
    "body",
    [
        {"token_policies": "root"},
        {"token_policies": "Deployer"},
        {"secret_id_num_uses": -1},
        {"secret_id_ttl": "-1h"},
        {"secret_id_bound_cidrs": "garbage"},
        {"secret_id_bound_cidrs": "10.0.0.1/8"},
        {"secret_id_bound_cidrs": "2001:DB8::/32"},
        {"secret_id_bound_cidrs": ["10.0.0.0/8"] * 65},
        {"token_ttl": "2h", "token_max_ttl": "1h"},
        b'{"secret_id_num_uses": 1, "secret_id_num_uses": 2}',
    ],
)
def test_a_role_that_makes_no_sense_is_refused(house: House, body: object) -> None:
    """P2 among others: 400, and nothing changes."""
    before = house.data("GET", ROLE)
    assert house.ask("POST", ROLE, body)[0] == 400
    assert house.data("GET", ROLE) == before


# What is kept, and what is recorded


def test_the_database_holds_no_secret_id(house: House) -> None:
    """A10: a digest by a key that is not in the database, and none in the log."""
    secrets = [_secret(house)["secret_id"], house.data("POST", f"{ROLE}/custom-secret-id", {"secret_id": CHOSEN})]
    _login(house, secrets[0])
    _login(house, "wrong-secret-of-somebody-who-mistyped")
    house.ask("POST", f"{SECRETS}/lookup", {"secret_id": secrets[0]})
    everything = house.everything()
    for secret in (secrets[0], CHOSEN, "wrong-secret-of-somebody-who-mistyped"):
        assert secret not in everything
        assert secret.encode().hex() not in everything


def test_a_secret_id_that_is_moved_to_another_roles_row_lets_nobody_in(house: House) -> None:
    """A10: the digest is bound to the role, so that a row cannot be given a role of more rights."""
    house.ask("POST", "approle/role/admin", {"role_id": "admin-role"})
    secret = _secret(house)["secret_id"]
    house.database.write(lambda tx: tx.exec_driver_sql("UPDATE approle_secret_ids SET role = 'admin'"))
    assert not _allowed(house, secret, role_id="admin-role")
    assert not _allowed(house, secret)


def test_the_log_tells_which_role_and_why(house: House) -> None:
    """A login that failed, with what its answer keeps to itself; one that succeeded, by both accessors."""
    house.ask("POST", ROLE, {"secret_id_bound_cidrs": "127.0.0.0/8"})
    secret = _secret(house)
    _login(house, secret["secret_id"], "nobody")
    _login(house, "wrong")
    _login(house, secret["secret_id"], remote="192.0.2.1")
    accessor = _login(house, secret["secret_id"])[1]["auth"]["accessor"]
    told = [(*found[:2], found[2].get("reason")) for found in house.events("approle.login")]
    assert ("auth/approle/login", "refused", "unknown role-id") in told
    assert ("auth/approle/role/ci", "refused", "unknown, expired or spent secret-id") in told
    assert ("auth/approle/role/ci", "refused", "address not allowed") in told
    facts = next(detail for _, outcome, detail in house.events("approle.login") if outcome == "success")
    assert (facts["accessor"], facts["secret_id_accessor"]) == (accessor, secret["secret_id_accessor"])
    assert facts["remote"] == "127.0.0.1"


def test_roles_of_one_mount_are_not_those_of_another(house: House) -> None:
    """P5: the same role-id and the same secret-id let nobody in elsewhere."""
    house.data("POST", f"{ROLE}/custom-secret-id", {"secret_id": CHOSEN})
    house.database.write(lambda tx: house.mounts.add(tx, path="auth/team/apps/", kind="auth", type="approle"))
    body = {"role_id": "ci-role", "secret_id": CHOSEN}
    assert house.log_in("team/apps/login", body)[0] == 400
    house.ask("POST", "team/apps/role/ci", {"role_id": "ci-role"})
    assert house.log_in("team/apps/login", body)[0] == 400
    house.data("POST", "team/apps/role/ci/custom-secret-id", {"secret_id": CHOSEN})
    assert house.log_in("team/apps/login", body)[1]["auth"]["policies"] == ["default"]
    assert house.log_in("approle/login", body)[1]["auth"]["policies"] == ["default", "deployer"]


def test_a_failed_login_disturbs_no_writes_beside_it(house: House) -> None:
    """D3: strangers' failures break up no group of writes, and every good login among them succeeds."""
    secret = _secret(house)["secret_id"]
    results = together(40, lambda number: _allowed(house, secret if number % 2 else "wrong"))
    assert results == [bool(number % 2) for number in range(40)]
