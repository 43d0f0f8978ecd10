"""Local users: what is written of them, their one spelling, and what their passwords open."""

from datetime import timedelta
from typing import Any

import pytest

from pki.identity.passwords import LONGEST, SHORTEST, Passwords
from pki.identity.users import FAILURES
from pki.ids import Ids
from tests.pki.auth.house import House, together

PASSWORD = "correct horse battery"  # noqa: S105 - it opens nothing but these tests' house
USER = "userpass/users/alice"
LOGIN = "userpass/login/alice"
INVALID = "invalid username or password"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def house(auth: House) -> House:
    """Give a house with the user alice."""
    assert auth.ask("POST", USER, {"password": PASSWORD, "token_policies": "reader,writer"})[0] == 204
    return auth


def _try(house: House, password: str = PASSWORD, name: str = "alice", **more: Any) -> tuple[int, Any]:
    return house.log_in(f"userpass/login/{name}", {"password": password}, **more)


# Log in


def test_a_login_gives_a_token_of_the_users_policies(house: House) -> None:
    """C01: an hour, the policies and default, and who it is; the token is good at once."""
    status, answer = _try(house)
    auth = answer["auth"]
    assert status == 200
    assert answer["data"] is None
    assert auth["policies"] == ["default", "reader", "writer"]
    assert auth["metadata"] == {"username": "alice"}
    assert (auth["lease_duration"], auth["renewable"], auth["orphan"]) == (3600, True, True)
    told = house.self_of(auth["client_token"])
    assert (told["display_name"], told["path"]) == ("userpass-alice", "auth/userpass/login/alice")
    assert told["meta"] == {"username": "alice"}


def test_what_was_said_of_tokens_holds_of_them(house: House) -> None:
    """Lifetime, maximum, number of uses, and no policy default."""
    terms = {"token_ttl": "10m", "token_max_ttl": "20m", "token_num_uses": 2, "token_no_default_policy": True}
    assert house.ask("POST", USER, terms)[0] == 204
    auth = _try(house)[1]["auth"]
    assert (auth["lease_duration"], auth["num_uses"], auth["policies"]) == (600, 2, ["reader", "writer"])
    uses = [house.ask("GET", "token/lookup-self", token=auth["client_token"])[1]["errors"] for _ in range(3)]
    assert uses == [["permission denied"]] * 3  # no policy lets it look itself up; the third has no use left


def test_a_token_of_a_login_is_renewed_up_to_its_maximum(house: House) -> None:
    """T5: what token_max_ttl says is the end of all renewals."""
    house.ask("POST", USER, {"token_ttl": "10m", "token_max_ttl": "15m"})
    token = _try(house)[1]["auth"]["client_token"]
    house.clock.advance(9 * MINUTE)
    answer = house.ask("POST", "token/renew-self", {"increment": "10m"}, token=token)[1]
    assert answer["auth"]["lease_duration"] == 360


def test_a_login_without_a_password_says_what_is_missing(house: House) -> None:
    """Whoever the user is, and however it is left out."""
    for name in ("alice", "nobody"):
        for body in (None, {}, {"password": ""}, {"password": None}):
            status, answer = house.log_in(f"userpass/login/{name}", body)
            assert (status, answer["errors"]) == (400, ["missing password"])


@pytest.mark.parametrize("password", ["correct horse batteri", "Correct horse battery", f"{PASSWORD} ", "a" * 100_000])
def test_a_password_is_right_or_wrong(house: House, password: str) -> None:
    """No case is folded, no blank trimmed, and nothing is cut to a length."""
    assert _try(house, password)[0] == 400


def test_one_password_in_two_unicode_forms_is_the_same(house: House) -> None:
    """RFC 8265 4.2.2: which form is sent depends on the keyboard, not on the person."""
    assert house.ask("POST", USER, {"password": "cafe\N{COMBINING ACUTE ACCENT} au lait"})[0] == 204
    assert _try(house, "caf\N{LATIN SMALL LETTER E WITH ACUTE} au lait")[0] == 200


def test_a_new_password_replaces_the_old_one(house: House) -> None:
    """C01: and it is neither needed nor told anywhere else."""
    assert house.ask("POST", f"{USER}/password", {"password": "another good one"})[0] == 204
    assert (_try(house)[0], _try(house, "another good one")[0]) == (400, 200)


def test_a_deleted_user_logs_in_no_more(house: House) -> None:
    """Nor does one who has the name after him, with the old password."""
    assert house.ask("DELETE", USER)[0] == 204
    assert _try(house)[0] == 400
    house.ask("POST", USER, {"password": "another good one"})
    assert (_try(house)[0], _try(house, "another good one")[0]) == (400, 200)


def test_a_password_is_the_users_of_its_mount(house: House) -> None:
    """A verifier that is moved to another user's row, or another mount's, fits no password."""
    house.ask("POST", "userpass/users/bob", {"password": "quite something else"})
    house.database.write(
        lambda tx: tx.exec_driver_sql(
            "UPDATE userpass_users SET verifier = (SELECT verifier FROM userpass_users WHERE name = 'alice') "
            "WHERE name = 'bob'"
        )
    )
    assert (_try(house, name="bob")[0], _try(house)[0]) == (400, 200)


# Users


def test_a_user_is_read_as_it_was_written(house: House) -> None:
    """E01: the members that clients of the Vault HTTP API know; nothing of the password is among them."""
    house.ask("POST", USER, {"token_ttl": "1h", "token_max_ttl": 7200})
    assert house.data("GET", USER) == {
        "policies": ["reader", "writer"],
        "token_bound_cidrs": [],
        "token_explicit_max_ttl": 0,
        "token_max_ttl": 7200,
        "token_no_default_policy": False,
        "token_num_uses": 0,
        "token_period": 0,
        "token_policies": ["reader", "writer"],
        "token_strictly_bind_ip": False,
        "token_ttl": 3600,
        "token_type": "default",
    }


def test_a_write_changes_what_it_names(house: House) -> None:
    """What is not sent stays, the password too; `policies` is the older name of token_policies."""
    assert house.ask("POST", USER, {"policies": ["b", "a", "b"]})[0] == 204
    assert house.data("GET", USER)["token_policies"] == ["a", "b"]
    assert house.ask("POST", f"{USER}/policies", {"token_policies": "c"})[0] == 204
    assert house.data("GET", USER)["token_policies"] == ["c"]
    assert _try(house)[1]["auth"]["policies"] == ["c", "default"]


def test_users_are_listed_in_order(house: House) -> None:
    """And an empty list is absent."""
    house.ask("POST", "userpass/users/aaron", {"password": PASSWORD})
    assert house.data("LIST", "userpass/users") == {"keys": ["aaron", "alice"]}
    for name in ("aaron", "alice", "never.was"):
        assert house.ask("DELETE", f"userpass/users/{name}")[0] == 204
    assert house.ask("LIST", "userpass/users")[0] == 404


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/password"), ("POST", "/policies")])
def test_nothing_is_done_to_a_user_that_there_is_not(house: House, method: str, path: str) -> None:
    """404, and no user is made by it."""
    body = {"password": PASSWORD, "token_policies": "a"}
    assert house.ask(method, f"userpass/users/nobody{path}", body)[0] == 404
    assert house.data("LIST", "userpass/users") == {"keys": ["alice"]}


@pytest.mark.parametrize(
    "name",
    [
        "Alice",
        "ALICE",
        "alice ",
        " alice",
        "al\N{CYRILLIC SMALL LETTER I}ce",
        "\N{FULLWIDTH LATIN SMALL LETTER A}lice",
        "al\N{COMBINING ACUTE ACCENT}ice",
        "-alice",
        "@alice",
        "a" * 101,
        "al,ice",
        "al*ce",
        "' OR name = 'alice",
        "'; DROP TABLE tokens",
    ],
)
def test_a_user_has_one_spelling(house: House, name: str) -> None:
    """A1: another one can be neither made nor logged in with, and counts on nobody's lock-out."""
    status, answer = house.ask("POST", f"userpass/users/{name}", {"password": PASSWORD})
    assert status == 400, answer
    for _ in range(FAILURES):
        assert _try(house, name=name)[0] == 400
    assert house.data("LIST", "userpass/users") == {"keys": ["alice"]}
    assert _try(house)[0] == 200


@pytest.mark.parametrize("name", ["a", "0", "alice@example.com", "a.b-c_d", "a" * 100])
def test_what_is_canonical_is_a_name(house: House, name: str) -> None:
    """The longest too; its token can be told apart from all others in the log."""
    assert house.ask("POST", f"userpass/users/{name}", {"password": PASSWORD})[0] == 204
    token = _try(house, name=name)[1]["auth"]["client_token"]
    assert house.self_of(token)["display_name"] == f"userpass-{name}"


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "abcdefg"[: SHORTEST - 1],
        "aaaaaaaaaaaaa",
        "abababababab",
        "alice123",
        "Alice-1234",
        "a b\tc d e f",
        "line\nfeeds",
        "x y z " * LONGEST,
    ],
)
def test_a_password_that_is_no_good_is_refused(house: House, password: str) -> None:
    """C01: too short or long, too simple, hardly more than the user's name, or what no keyboard types."""
    for path, body in ((USER, {"password": password}), (f"{USER}/password", {"password": password})):
        status, answer = house.ask("POST", path, body)
        assert status == 400
        assert "password" in answer["errors"][0]
    assert _try(house)[0] == 200


def test_a_new_user_needs_a_password(house: House) -> None:
    """Without one there is none that could ever be right."""
    status, answer = house.ask("POST", "userpass/users/bob", {"token_policies": "a"})
    assert (status, answer["errors"]) == (400, ["missing password"])


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("password_hash", "$2a$10$abc"),
        ("token_bound_cidrs", "10.0.0.0/8"),
        ("bound_cidrs", ["10.0.0.0/8"]),
        ("token_strictly_bind_ip", True),
        ("token_period", "1h"),
        ("period", 3600),
        ("ttl", "1h"),
        ("max_ttl", "1h"),
        ("token_type", "batch"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_name(house: House, member: str, value: object) -> None:
    """A restriction that were left out in silence would give more than its author meant; nothing said is no harm."""
    status, answer = house.ask("POST", USER, {member: value})
    assert status == 400
    assert member in f"{answer['errors']} {answer['advice']}"
    assert house.ask("POST", USER, {member: ""} if isinstance(value, str) else {member: type(value)()})[0] == 204


@pytest.mark.parametrize(
    "policy", ["root", "ROOT", "Reader", " root", "root\N{ZERO WIDTH SPACE}", "r\u00f6\u00f6t", "a*"]
)
def test_a_users_policies_have_canonical_names(house: House, policy: str) -> None:
    """P2: nor can any login ever give the policy root."""
    for path in (USER, f"{USER}/policies"):
        if policy != " root":
            assert house.ask("POST", path, {"token_policies": [policy]})[0] == 400
        else:  # blanks around a member of a list are no part of it
            assert house.ask("POST", path, {"token_policies": [policy]})[1]["errors"] == ["the name root is reserved"]
    assert house.data("GET", USER)["token_policies"] == ["reader", "writer"]


@pytest.mark.parametrize(
    "body",
    [
        {"token_ttl": "2h", "token_max_ttl": "1h"},
        {"token_ttl": "2h", "token_explicit_max_ttl": "1h"},
        {"token_num_uses": -1},
        {"token_num_uses": 10_000_000},
        {"token_ttl": "-1h"},
        {"token_policies": ["p"] * 2 + [f"p{number}" for number in range(70)]},
        {"policies": "a", "token_policies": "b"},
        {"token_policies": {"a": 1}},
        {"password": 12345678},
        b'{"password": "\\ud800 is half a character"}',
        b'{"password": "a NUL \\u0000 within"}',
        b'{"password": "one", "password": "two"}',
        b"\xff",
        b"[" * 10_000,
    ],
)
def test_a_body_that_makes_no_sense_is_refused(house: House, body: object) -> None:
    """400, and nothing changes; the same to a login, which is open to strangers."""
    before = house.data("GET", USER)
    assert house.ask("POST", USER, body)[0] == 400
    assert house.data("GET", USER) == before
    assert house.log_in(LOGIN, body)[0] == 400


def test_two_who_make_the_same_user_make_one(auth: House) -> None:
    """One is first; the other's write changes it or is told of the conflict."""
    statuses = together(4, lambda number: auth.ask("POST", USER, {"password": f"{PASSWORD} {number}"})[0])
    assert set(statuses) <= {204, 400}
    assert 204 in statuses
    assert sum(_try(auth, f"{PASSWORD} {number}")[0] == 200 for number in range(4)) == 1


# What is kept, and what is recorded


@pytest.mark.parametrize("damaged", ["", "$argon2id$v=19$m=19456,t=2,p=1$AAAA", "x" * 1000])
def test_a_damaged_verifier_is_no_way_in(house: House, damaged: str) -> None:
    """Nor a 500; a new password mends it."""
    house.database.write(lambda tx: tx.exec_driver_sql(f"UPDATE userpass_users SET verifier = '{damaged}'"))  # noqa: S608
    assert _try(house)[0] in {400, 503}
    assert house.ask("POST", f"{USER}/password", {"password": PASSWORD})[0] == 204
    assert _try(house)[0] == 200


def test_the_database_holds_no_password_and_none_can_be_tried_without_the_key(house: House) -> None:
    """A10: an argon2id string of OWASP's cost over a digest by a key that is not in the database."""
    _try(house)
    everything = house.everything()
    assert PASSWORD not in everything
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in everything
    with house.database.read() as tx:
        verifier, mount_id = tx.exec_driver_sql("SELECT verifier, mount_id FROM userpass_users").one()
    owner = f"{mount_id}\0alice"
    assert house.passwords.matches(owner, verifier, PASSWORD)
    assert not Passwords(b"q" * 32, Ids()).matches(owner, verifier, PASSWORD)


def test_one_password_has_two_verifiers(house: House) -> None:
    """Each has a salt of its own: that two users have the same one is not seen."""
    one, other = (house.passwords.verifier("same", "x", PASSWORD) for _ in range(2))
    assert one != other


def test_writing_users_is_recorded_without_the_password(house: House) -> None:
    """Who may what from now on, and whether a password was set."""
    house.ask("POST", f"{USER}/password", {"password": "another good one"})
    details = [detail for _, _, detail in house.events("userpass.write_user")]
    assert [(detail["policies"], detail["password_set"]) for detail in details] == [(["reader", "writer"], True)]
    assert "another good one" not in house.everything()


def test_users_of_one_mount_are_not_those_of_another(house: House) -> None:
    """P5: the same name is another user there; the display name says where."""
    house.database.write(lambda tx: house.mounts.add(tx, path="auth/team/staff/", kind="auth", type="userpass"))
    assert house.log_in("team/staff/login/alice", {"password": PASSWORD})[0] == 400
    house.ask("POST", "team/staff/users/alice", {"password": "another good one"})
    token = house.log_in("team/staff/login/alice", {"password": "another good one"})[1]["auth"]["client_token"]
    assert house.self_of(token)["display_name"] == "team-staff-alice"
    assert _try(house)[0] == 200


def test_a_login_is_refused_where_its_mount_is_gone(house: House) -> None:
    """And the user's row lets nobody in under a mount that takes the path after it."""
    house.database.write(lambda tx: house.mounts.remove(tx, "auth/userpass/"))
    assert _try(house)[0] == 403
    house.database.write(lambda tx: house.mounts.add(tx, path="auth/userpass/", kind="auth", type="userpass"))
    assert _try(house)[0] == 400
