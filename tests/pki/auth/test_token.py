"""The token operations as clients of the Vault HTTP API use them: through the pipeline, with nothing in between."""

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from pki.api.pipeline import Pipeline
from pki.audit.trail import Trail
from pki.auth.token import TokenEngine
from pki.identity.tokens import NewToken, Tokens
from pki.ids import Ids
from pki.mounts import Mounts
from pki.policy.store import Policies
from pki.storage.database import Database
from tests.clocks import FrozenClock

MAKER = 'path "auth/token/create*" { capabilities = ["update"] }'
ADMIN = 'path "auth/token/*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }'
POLICIES = {"maker": MAKER, "admin": ADMIN, "reader": 'path "secret/*" { capabilities = ["read"] }'}


@dataclass
class House:
    """The rooms that the engine needs, and a pipeline before them."""

    database: Database
    clock: FrozenClock = field(default_factory=lambda: FrozenClock(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)))

    def __post_init__(self) -> None:
        """Build them, and write the policies."""
        ids = Ids()
        trail = Trail(self.clock, ids, timedelta(seconds=5))
        policies = Policies(self.database, self.clock)
        self.tokens = Tokens(self.database, self.clock, ids, trail, b"k" * 32)
        self.pipeline = Pipeline(
            database=self.database,
            trail=trail,
            mounts=Mounts(self.database, self.clock, ids),
            tokens=self.tokens,
            policies=policies,
            engines={"token": TokenEngine(self.database, self.clock, self.tokens, policies)},
        )
        for name, text in POLICIES.items():
            self.database.write(lambda tx, name=name, text=text: policies.set(tx, name, text))  # type: ignore[misc]
        self.root = self.tokens.make("root", ("root",), None)
        self.requests = 0

    def holder(self, *policies: str, **changes: object) -> str:
        """Return a token that has these policies, and default."""
        wanted: dict[str, object] = {
            "display_name": "ann",
            "policies": policies,
            "lifetime": None,
            "path": "auth/x/login",
        }
        new = NewToken(**{**wanted, **changes})  # type: ignore[arg-type]
        return self.database.write(lambda tx: self.tokens.add(tx, new)).token

    def ask(self, method: str, path: str, token: str, body: Any = None) -> tuple[int, Any]:
        """Return status and body of one request below auth/token/."""
        octets = b"" if body is None else orjson.dumps(body)
        self.requests += 1
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": f"/v1/auth/token/{path}",
            "QUERY_STRING": "",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(octets)),
            "wsgi.input": io.BytesIO(octets),
            "HTTP_X_VAULT_TOKEN": token,
        }
        answer = self.pipeline.handle(environ, f"request-{self.requests}")
        return int(answer.status), orjson.loads(answer.body) if answer.body else None

    def made(self, token: str, body: Any, path: str = "create") -> dict[str, Any]:
        """Make a token, and return the answer's `auth`."""
        status, answer = self.ask("POST", path, token, body)
        assert status == 200, answer
        auth: dict[str, Any] = answer["auth"]
        return auth

    def self_of(self, token: str) -> Any:
        """Return what lookup-self says, None where it is refused."""
        status, answer = self.ask("GET", "lookup-self", token)
        return answer["data"] if status == 200 else None

    def events(self, action: str) -> list[dict[str, Any]]:
        """Return the details of all audit events of an action, in order."""
        with self.database.read() as tx:
            query = "SELECT detail FROM audit_events WHERE action = '{}' AND request_id IS NOT NULL ORDER BY request_id"
            return [orjson.loads(row[0]) for row in tx.exec_driver_sql(query.format(action))]

    def everything_recorded(self) -> str:
        """Return the whole audit log as text."""
        with self.database.read() as tx:
            return str(tx.exec_driver_sql("SELECT * FROM audit_events").all())


@pytest.fixture
def house(migrated_url: str) -> Iterator[House]:
    """Give the house, over each database."""
    with closing(Database.open(migrated_url)) as database:
        yield House(database)


def test_a_made_token_is_answered_as_clients_read_it(house: House) -> None:
    """A child has the policies that were asked for, and default; it lives for an hour unless it is said otherwise."""
    auth = house.made(house.holder("admin"), {"policies": ["reader"], "meta": {"a": "b"}, "display_name": "ci"})
    assert (auth["policies"], auth["token_policies"]) == (["default", "reader"], ["default", "reader"])
    assert (auth["lease_duration"], auth["renewable"], auth["orphan"], auth["num_uses"]) == (3600, True, False, 0)
    assert (auth["metadata"], auth["token_type"], auth["entity_id"]) == ({"a": "b"}, "service", "")
    assert house.tokens.authenticate(auth["client_token"]).accessor == auth["accessor"]


def test_lookup_self_has_the_members_that_clients_look_for(house: House) -> None:
    """External Secrets and hvac read `type`, an integer `ttl` and `expire_time`; the key is there when it is null."""
    auth = house.made(house.root, {"policies": "reader", "ttl": "30m", "display_name": "ci", "meta": {"a": "b"}})
    house.clock.advance(timedelta(minutes=10))
    assert house.self_of(auth["client_token"]) == {
        "accessor": auth["accessor"],
        "creation_time": 1893553445,
        "creation_ttl": 1800,
        "display_name": "token-ci",
        "entity_id": "",
        "expire_time": "2030-01-02T03:34:05.000Z",
        "explicit_max_ttl": 7 * 86400,
        "id": auth["client_token"],
        "issue_time": "2030-01-02T03:04:05.000Z",
        "meta": {"a": "b"},
        "num_uses": 0,
        "orphan": False,
        "path": "auth/token/create",
        "policies": ["default", "reader"],
        "renewable": True,
        "ttl": 1200,
        "type": "service",
    }
    root = house.self_of(house.root)
    assert (root["expire_time"], root["ttl"], root["creation_ttl"], root["meta"]) == (None, 0, 0, None)
    assert (root["orphan"], root["policies"], root["renewable"]) == (True, ["root"], False)


def test_a_token_is_looked_up_by_itself_and_by_its_accessor(house: House) -> None:
    """By the accessor the token is not told; without a token one's own is meant; POST to lookup-self is one, too."""
    admin = house.holder("admin")
    auth = house.made(admin, {"policies": ["reader"]})
    by_token = house.ask("POST", "lookup", admin, {"token": auth["client_token"]})[1]["data"]
    by_accessor = house.ask("POST", "lookup-accessor", admin, {"accessor": auth["accessor"]})[1]["data"]
    assert (by_token.pop("id"), by_accessor.pop("id")) == (auth["client_token"], "")
    assert by_token == by_accessor
    own = house.self_of(admin)
    assert house.ask("POST", "lookup", admin, {})[1]["data"] == own
    assert house.ask("POST", "lookup-self", admin)[1]["data"] == own


def test_a_token_that_is_none_is_told_as_clients_expect(house: House) -> None:
    """P5: unknown, revoked and malformed are told in the same words, 403 for a token and 400 for an accessor."""
    admin = house.holder("admin")
    gone = house.made(admin, {"policies": ["reader"]})
    assert house.ask("POST", "revoke", admin, {"token": gone["client_token"]}) == (204, None)
    for token in (gone["client_token"], "sw." + "a" * 43, "nope", "é"):
        for path in ("lookup", "renew"):
            status, answer = house.ask("POST", path, admin, {"token": token})
            assert (status, answer["errors"]) == (403, ["bad token"])
    for accessor in (gone["accessor"], "a" * 26, "nope", "é"):
        for path in ("lookup-accessor", "renew-accessor"):
            status, answer = house.ask("POST", path, admin, {"accessor": accessor})
            assert (status, answer["errors"]) == (400, ["invalid accessor"])
    for path in ("renew", "revoke", "revoke-orphan", "lookup-accessor", "renew-accessor", "revoke-accessor"):
        status, answer = house.ask("POST", path, admin, None)
        assert (status, answer["errors"][0][:8]) == (400, "missing ")


def test_a_child_gets_no_more_than_its_parent_has(house: House) -> None:
    """P6: without sudo, policies are a subset; default is added only by who has it."""
    maker = house.holder("maker", "reader")
    assert house.made(maker, {"policies": ["reader"]})["policies"] == ["default", "reader"]
    assert house.made(maker, {})["policies"] == ["default", "maker", "reader"]
    for policies in (["admin"], ["reader", "admin"], ["none"]):
        status, answer = house.ask("POST", "create", maker, {"policies": policies})
        assert (status, answer["errors"]) == (403, ["child policies must be subset of parent"])
    bare = house.holder("maker", default_policy=False)
    assert house.made(bare, {})["policies"] == ["maker"]
    assert house.ask("POST", "create", bare, {"policies": ["default"]})[0] == 403


def test_who_has_sudo_names_any_policy_but_root(house: House) -> None:
    """P6 T3: sudo on the path stands above the subset, and never reaches root."""
    for token in (house.holder("admin"), house.root):
        assert house.made(token, {"policies": ["anything"]})["policies"] == ["anything", "default"]
        assert house.made(token, {"policies": ["anything"], "no_default_policy": True})["policies"] == ["anything"]
        for policies in (["root"], [" root "], "reader,root"):
            status, answer = house.ask("POST", "create", token, {"policies": policies})
            assert (status, answer["errors"]) == (400, ["no token is made with the policy root"])
        for policies in (["ROOT"], ["root\0"], ["a/b"]):
            assert house.ask("POST", "create", token, {"policies": policies})[0] == 400
    assert house.ask("POST", "create", house.root, {})[0] == 400  # it would be as much as its parent


def test_a_token_without_a_parent_needs_sudo(house: House) -> None:
    """An orphan outlives its maker: by either way of asking."""
    maker, admin = house.holder("maker"), house.holder("admin")
    for path, body in (("create", {"no_parent": True}), ("create-orphan", {})):
        assert house.ask("POST", path, maker, {"policies": ["maker"], **body})[0] == 403
        auth = house.made(admin, {"policies": ["reader"], **body}, path)
        assert (auth["orphan"], house.self_of(auth["client_token"])["path"]) == (True, f"auth/token/{path}")
    kept = house.made(admin, {"policies": ["reader"]}, "create-orphan")["client_token"]
    child = house.made(admin, {"policies": ["reader"]})["client_token"]
    assert house.ask("POST", "revoke-self", admin) == (204, None)
    assert house.self_of(kept) is not None
    assert house.self_of(child) is None


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"type": "batch"}, "batch"),
        ({"id": "chosen"}, "id"),
        ({"period": "1h"}, "periodic"),
        ({"entity_alias": "x"}, "entity_alias"),
        ({"lease": "1h"}, "lease"),
        ({"num_uses": -1}, "num_uses"),
        ({"num_uses": 10**7}, "num_uses"),
        ({"ttl": "-1"}, "ttl"),
        ({"ttl": "soon"}, "ttl"),
        ({"policies": {"a": 1}}, "policies"),
        ({"meta": {"a": [1]}}, "meta"),
        ({"display_name": "a\nb"}, "display name"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_name(house: House, body: dict[str, Any], named: str) -> None:
    """Nothing that is asked for is left out in silence, and nothing is a 500."""
    status, answer = house.ask("POST", "create", house.root, {"policies": ["reader"], **body})
    assert status == 400
    assert named in answer["errors"][0]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "create/ci"), ("LIST", "roles"), ("GET", "roles/ci"), ("POST", "roles/ci"), ("DELETE", "roles/ci")],
)
def test_token_roles_are_refused_by_name(house: House, method: str, path: str) -> None:
    """They come later, or never."""
    status, answer = house.ask(method, path, house.root)
    assert (status, answer["errors"]) == (400, ["token roles are not supported"])


def test_bodies_as_programs_send_them_are_taken(house: House) -> None:
    """Null, empty, text for numbers, and members that nobody knows: as Go and Terraform send them."""
    go = {"display_name": "", "num_uses": 0, "type": "", "entity_alias": "", "policies": ["reader"], "lease": "0s"}
    assert house.made(house.root, go)["lease_duration"] == 3600
    terraform = {**go, "ttl": "1200s", "explicit_max_ttl": "1200s", "renewable": False, "period": "0s", "id": None}
    auth = house.made(house.root, terraform)
    assert (auth["lease_duration"], auth["renewable"]) == (1200, False)
    assert house.made(house.root, {"policies": "reader,other", "ttl": "60", "num_uses": "3", "x": 1})["num_uses"] == 3
    nothing = {"policies": None, "meta": None, "ttl": None, "renewable": None, "num_uses": None, "display_name": None}
    assert house.made(house.holder("maker"), nothing)["renewable"] is True


def test_a_lifetime_beyond_the_maximum_is_cut_and_told(house: House) -> None:
    """The client learns by a warning why it gets less."""
    status, answer = house.ask(
        "POST", "create", house.root, {"policies": ["reader"], "ttl": "5h", "explicit_max_ttl": "2h"}
    )
    assert (status, answer["auth"]["lease_duration"], len(answer["warnings"])) == (200, 7200, 1)
    assert house.self_of(answer["auth"]["client_token"])["explicit_max_ttl"] == 7200


def test_a_token_is_renewed_by_itself_by_another_and_by_its_accessor(house: House) -> None:
    """The answer holds the token where it was sent, and none where only its accessor was."""
    admin = house.holder("admin", lifetime=timedelta(days=1))
    auth = house.made(admin, {"policies": ["reader"]})
    token, accessor = auth["client_token"], auth["accessor"]
    for path, caller, body, shown in (
        ("renew-self", token, {"increment": "45m"}, token),
        ("renew-self", token, {"increment": 2700}, token),
        ("renew", admin, {"token": token, "increment": "2700"}, token),
        ("renew-accessor", admin, {"accessor": accessor, "increment": "45m0s"}, ""),
    ):
        house.clock.advance(timedelta(minutes=20))
        status, answer = house.ask("PUT", path, caller, body)
        assert status == 200, answer
        assert (answer["auth"]["client_token"], answer["auth"]["lease_duration"]) == (shown, 2700)
    assert house.ask("POST", "renew-self", token)[1]["auth"]["lease_duration"] == 3600
    fixed = house.made(admin, {"policies": ["reader"], "renewable": False})["client_token"]
    for refused in (fixed, house.root):
        status, answer = house.ask("POST", "renew-self", refused)
        assert (status, answer["errors"]) == (400, ["the token is not renewable"])


def test_a_token_is_revoked_by_each_way_and_is_dead_at_once(house: House) -> None:
    """D11 T2: with all below it; a retry after a lost answer does no harm."""
    admin = house.holder("admin")
    none = ["No token found with this accessor"]
    ways = ("revoke", "client_token", (204, None)), ("revoke-accessor", "accessor", (200, none))
    for path, member, again in ways:
        auth = house.made(admin, {"policies": ["maker"]})
        child = house.made(auth["client_token"], {})
        body = {"token" if member == "client_token" else member: auth[member]}
        assert house.ask("POST", path, admin, body) == (204, None)
        assert house.self_of(auth["client_token"]) is None
        assert house.self_of(child["client_token"]) is None
        status, answer = house.ask("POST", path, admin, body)
        warnings = None if answer is None else answer["warnings"]
        assert (status, warnings) == again
    assert house.ask("POST", "revoke-self", admin) == (204, None)
    assert house.ask("POST", "revoke-self", admin)[0] == 403


def test_a_token_revoked_alone_leaves_its_children(house: House) -> None:
    """revoke-orphan needs sudo."""
    admin = house.holder("admin")
    auth = house.made(admin, {"policies": ["maker"]})
    child = house.made(auth["client_token"], {})["client_token"]
    assert house.ask("POST", "revoke-orphan", child, {"token": auth["client_token"]})[0] == 403
    assert house.ask("POST", "revoke-orphan", admin, {"token": auth["client_token"]}) == (204, None)
    assert house.self_of(auth["client_token"]) is None
    assert house.self_of(child)["orphan"] is True


def test_the_last_use_of_a_token_is_served(house: House) -> None:
    """T5: whatever it is used for, a request counts once, and after the last the token is dead."""
    auth = house.made(house.root, {"policies": ["maker"], "num_uses": 2})
    assert auth["num_uses"] == 2
    assert house.self_of(auth["client_token"])["num_uses"] == 1
    assert house.self_of(auth["client_token"])["num_uses"] == 0
    assert house.self_of(auth["client_token"]) is None
    for path in ("revoke-self", "renew-self"):
        once = house.made(house.root, {"policies": ["maker"], "num_uses": 1})["client_token"]
        assert house.ask("POST", path, once)[0] in {200, 204}
        assert house.ask("POST", path, once)[0] == 403
    twice = house.made(house.root, {"policies": ["maker"], "num_uses": 2})["client_token"]
    assert house.ask("POST", "create", twice, {})[0] == 400


def test_the_accessors_of_living_tokens_are_listed_to_who_has_sudo(house: House) -> None:
    """They name tokens without being them."""
    admin = house.holder("admin")
    gone = house.made(admin, {"policies": ["reader"], "ttl": "1m"})["accessor"]
    house.clock.advance(timedelta(minutes=2))
    stays = house.made(admin, {"policies": ["reader"]})["accessor"]
    status, answer = house.ask("LIST", "accessors", admin)
    assert status == 200
    assert stays in answer["data"]["keys"]
    assert gone not in answer["data"]["keys"]
    assert house.ask("LIST", "accessors", house.holder("maker"))[0] == 403


def test_who_holds_the_default_policy_alone_minds_his_own_token(house: House) -> None:
    """P6: others' tokens are not looked up, renewed, revoked or made."""
    token, other = house.holder(), house.made(house.root, {"policies": ["reader"]})
    for path, body in (
        ("create", {}),
        ("lookup", {"token": other["client_token"]}),
        ("lookup-accessor", {"accessor": other["accessor"]}),
        ("renew", {"token": other["client_token"]}),
        ("revoke", {"token": other["client_token"]}),
        ("revoke-accessor", {"accessor": other["accessor"]}),
    ):
        assert house.ask("POST", path, token, body)[0] == 403, path
    assert house.self_of(other["client_token"]) is not None
    assert house.self_of(token)["policies"] == ["default"]
    assert house.ask("POST", "renew-self", token)[0] == 200
    assert house.ask("POST", "revoke-self", token)[0] == 204


def test_what_was_done_is_recorded_and_no_token_with_it(house: House) -> None:
    """L1 L3: one event a request, with accessors; neither tokens nor what was sent by mistake."""
    admin = house.holder("admin")
    auth = house.made(admin, {"policies": ["reader"]})
    house.ask("POST", "renew", admin, {"token": auth["client_token"]})
    house.ask("POST", "lookup", admin, {"token": auth["client_token"]})
    house.ask("POST", "revoke-accessor", admin, {"accessor": auth["client_token"]})
    house.ask("POST", "revoke", admin, {"token": auth["client_token"]})
    (created,) = house.events("token.create")
    assert (created["accessor"], created["policies"]) == (auth["accessor"], ["default", "reader"])
    assert [event["accessor"] for event in house.events("token.renew")] == [auth["accessor"]]
    assert [(event["accessor"], event["count"]) for event in house.events("token.revoke")] == [(auth["accessor"], 1)]
    assert len(house.events("token.lookup")) == 1
    assert [event["count"] for event in house.events("token.revoke_accessor")] == [0]
    recorded = house.everything_recorded()
    for token in (admin, auth["client_token"], house.root):
        assert token.removeprefix("sw.") not in recorded
