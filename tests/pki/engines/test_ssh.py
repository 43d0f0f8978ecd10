"""The wire of the SSH authority: names, answers and refusals as clients of the Vault HTTP API know them."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from hsm.algorithms import KeyAlgorithm
from pki.core import Core
from pki.engines.ssh import RoleRequest, SignRequest, SshEngine, made_role
from pki.errors import Conflict, Denied, Malformed, NotFound, Rejected
from pki.mounts import Mount
from pki.operations.call import Reply
from pki.operations.declare import Operation, Verb
from pki.operations.wire import decode
from pki.ssh.keys import read_line
from pki.storage.tables import audit_events
from tests.pki.engines.conftest import Caller, caller
from tests.pki.ssh.conftest import authority
from tests.pki.ssh.material import fresh_line

_USER_ROLE: dict[str, Any] = {
    "key_type": "ca",
    "allow_user_certificates": True,
    "allowed_users": "alice, deploy",
    "default_user": "alice",
    "default_extensions": {"permit-pty": ""},
    "allowed_extensions": "permit-pty,permit-port-forwarding",
    "ttl": "30m",
    "max_ttl": "8h",
}
_HOST_ROLE: dict[str, Any] = {
    "key_type": "ca",
    "allow_host_certificates": True,
    "allowed_domains": "internal.example",
    "allow_subdomains": True,
}


class Wire:
    """Finds an operation by its verb and pattern, decodes a body for it, and calls it."""

    def __init__(self, core: Core) -> None:
        self.engine = SshEngine(authority(core))
        self.caller: Caller = caller(core, "ssh", "ssh/")
        self._operations = {(item.verb, item.pattern): item for item in SshEngine.operations()}

    @property
    def mount(self) -> Mount:
        """The mount."""
        return self.caller.mount

    def operation(self, verb: str, pattern: str) -> Operation:
        """Return the declared operation."""
        return self._operations[Verb(verb), pattern]

    def __call__(self, verb: str, pattern: str, body: object = None, **variables: str) -> Reply:
        """Call it; nothing to say is an empty reply."""
        found = self.operation(verb, pattern)
        path = pattern.replace("<role>", variables.get("role", ""))
        decoded = decode(msgspec.json.encode(body), found.body)
        reply = found.function(self.engine, self.caller.call(path), decoded, **variables)
        return reply if isinstance(reply, Reply) else Reply()

    def data(self, verb: str, pattern: str, body: object = None, **variables: str) -> dict[str, Any]:
        """Return the data of the reply."""
        return dict(self(verb, pattern, body, **variables).data or {})


@pytest.fixture
def wire(core: Core) -> Wire:
    """Give the engine on a mount without CA keys."""
    return Wire(core)


@pytest.fixture
def ready(wire: Wire) -> Wire:
    """Give the engine with CA keys and the roles dev and hosts."""
    wire("update", "config/ca", {"generate_signing_key": True})
    wire("update", "roles/<role>", _USER_ROLE, role="dev")
    wire("update", "roles/<role>", _HOST_ROLE, role="hosts")
    return wire


def test_ca_keys_are_made_once_and_public(wire: Wire) -> None:
    """CA03: an empty body will do; the public keys are for everybody, one line each, users' and hosts' apart."""
    with pytest.raises(NotFound):
        wire("read", "public_key")
    made = wire.data("update", "config/ca")
    assert made == wire.data("read", "config/ca")
    assert made["public_key"].startswith("ssh-ed25519 ")
    assert made["host_public_key"] != made["public_key"]
    assert wire("read", "public_key").raw == ("text/plain", f"{made['public_key']}\n".encode())
    assert wire("read", "host_public_key").raw == ("text/plain", f"{made['host_public_key']}\n".encode())
    assert wire.operation("read", "public_key").open
    assert not wire.operation("read", "config/ca").open
    with pytest.raises(Conflict, match="already"):
        wire("update", "config/ca", {"generate_signing_key": "true"})
    with pytest.raises(Rejected, match="as long as its mount"):
        wire("delete", "config/ca")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({"key_type": "ssh-rsa", "key_bits": 2048}, "ssh-rsa "),
        ({"key_type": "ec", "key_bits": "384"}, "ecdsa-sha2-nistp384 "),
        ({"key_type": "ecdsa-sha2-nistp256"}, "ecdsa-sha2-nistp256 "),
        ({"key_type": KeyAlgorithm.ED25519}, "ssh-ed25519 "),
        ({"private_key": "", "public_key": "", "key_type": "ed25519", "key_bits": 0}, "ssh-ed25519 "),
    ],
)
def test_the_kind_of_ca_key_can_be_chosen(wire: Wire, body: dict[str, Any], line: str) -> None:
    """S21: by the names that clients use, and by the house's own."""
    made = wire.data("update", "config/ca", body)
    assert made["public_key"].startswith(line)
    assert made["host_public_key"].startswith(line)


@pytest.mark.parametrize(
    "body",
    [
        {"private_key": "-----BEGIN OPENSSH PRIVATE KEY-----"},
        {"public_key": "ssh-ed25519 AAAA"},
        {"generate_signing_key": False},
        {"key_type": "ssh-dss"},
        {"key_type": "rsa", "key_bits": 1024},
        {"key_type": "ed25519", "key_bits": 256000},
        {"key_type": "aes-256"},
    ],
    ids=str,
)
def test_no_key_enters_and_no_weak_one_is_made(wire: Wire, body: dict[str, Any]) -> None:
    """CA03: a CA key that was ever elsewhere is not the HSM's; refused loudly, and nothing is made."""
    with pytest.raises(Malformed):
        wire("update", "config/ca", body)
    with pytest.raises(NotFound):
        wire("read", "config/ca")


def test_a_role_is_read_back_as_it_was_written(ready: Wire) -> None:
    """Numbers are whole seconds, lists are texts with commas, and what was left out has its default."""
    role = ready.data("read", "roles/<role>", role="dev")
    assert role["allowed_users"] == "alice,deploy"
    assert (role["ttl"], role["max_ttl"], role["not_before_duration"]) == (1800, 28800, 30)
    assert role["default_extensions"] == {"permit-pty": ""}
    assert role["key_type"] == "ca"
    assert role["allow_user_certificates"]
    assert not role["allow_host_certificates"]
    host = ready.data("read", "roles/<role>", role="hosts")
    assert (host["ttl"], host["max_ttl"]) == (7 * 86400, 7 * 86400)
    ready("update", "roles/<role>", role, role="copy")
    assert ready.data("read", "roles/<role>", role="copy") == role
    assert ready.data("list", "roles")["keys"] == ["copy", "dev", "hosts"]


def test_roles_can_be_changed_and_deleted(ready: Wire) -> None:
    """A write that changes one that is there needs the capability update, another create."""
    exists = ready.operation("update", "roles/<role>").exists
    assert exists is not None
    body = decode(b"{}", ready.operation("update", "roles/<role>").body)
    assert exists(ready.engine, ready.caller.call("roles/dev"), body, role="dev")
    assert not exists(ready.engine, ready.caller.call("roles/new"), body, role="new")
    ready("update", "roles/<role>", {**_USER_ROLE, "allowed_users": "bob"}, role="dev")
    assert ready.data("read", "roles/<role>", role="dev")["allowed_users"] == "bob"
    for role in ("dev", "hosts", "dev"):
        assert ready("delete", "roles/<role>", role=role) == Reply()
    assert ready("list", "roles").absent
    with pytest.raises(NotFound, match="no role 'dev'"):
        ready("read", "roles/<role>", role="dev")


def test_a_role_is_short_lived_unless_it_says_otherwise(ready: Wire) -> None:
    """CA56: an hour for people; a longer life is written in the role."""
    plain = {"allow_user_certificates": True, "allowed_users": "alice"}
    for extra, lives in (
        ({}, (3600, 3600)),
        ({"ttl": 0, "max_ttl": ""}, (3600, 3600)),
        ({"max_ttl": "10m"}, (600, 600)),
        ({"ttl": "24h"}, (86400, 86400)),
        ({"ttl": "5m", "max_ttl": "30d"}, (300, 2592000)),
    ):
        ready("update", "roles/<role>", {**plain, **extra}, role="lives")
        read = ready.data("read", "roles/<role>", role="lives")
        assert (read["ttl"], read["max_ttl"]) == lives


def test_a_role_for_anybody_is_warned_of(ready: Wire) -> None:
    """H1: it can be written, by the exact *, and the writer is told what it means."""
    reply = ready("update", "roles/<role>", {**_USER_ROLE, "allowed_users": "*"}, role="any")
    assert "any name" in reply.warnings[0]
    assert ready.data("read", "roles/<role>", role="any")["allowed_users"] == "*"


@pytest.mark.parametrize(
    "changes",
    [
        {"key_type": "otp"},
        {"key_type": "dynamic"},
        {"allow_host_certificates": True},
        {"allow_user_certificates": False},
        {"allow_empty_principals": True},
        {"allowed_users": "", "default_user": ""},
        {"allowed_users_template": True},
        {"default_user_template": True},
        {"allowed_domains_template": True},
        {"default_extensions_template": True},
        {"cidr_list": "10.0.0.0/8"},
        {"algorithm_signer": "ssh-rsa"},
        {"allowed_extensions": "*"},
        {"key_id_format": "{{identity.entity.name}}"},
        {"ttl": "2h", "max_ttl": "1h"},
        {"not_before_duration": "2h"},
    ],
    ids=str,
)
def test_what_is_not_supported_in_a_role_is_refused_by_name(ready: Wire, changes: dict[str, Any]) -> None:
    """H1 H5: nothing is ignored that would make the role mean less, or more, than its writer thinks."""
    with pytest.raises(Rejected) as caught:
        ready("update", "roles/<role>", {**_USER_ROLE, **changes}, role="odd")
    assert caught.value.code in {"unsupported", "badRole", "badExtension"}
    with pytest.raises(NotFound):
        ready("read", "roles/<role>", role="odd")


def test_kinds_of_keys_have_the_names_that_clients_use(ready: Wire) -> None:
    """H8: by kind or by type, one size or several; others are refused by name."""
    lengths = {"rsa": [3072, 4096], "ecdsa-sha2-nistp256": 256, "ssh-ed25519": 0, "sk-ed25519": 0}
    ready("update", "roles/<role>", {**_USER_ROLE, "allowed_user_key_lengths": lengths}, role="dev")
    read = ready.data("read", "roles/<role>", role="dev")["allowed_user_key_lengths"]
    assert read == {"rsa": [3072, 4096], "ec": [256], "ed25519": [], "sk-ed25519": []}
    for kind, is_taken in (("rsa", False), ("p256", True), ("p384", False), ("ed25519", True), ("sk-ed25519", True)):
        body = {"public_key": fresh_line(kind)}
        if is_taken:
            assert ready.data("update", "sign/<role>", body, role="dev")["signed_key"]
        else:
            with pytest.raises(Rejected):
                ready("update", "sign/<role>", body, role="dev")
    with pytest.raises(Malformed, match="dsa"):
        ready("update", "roles/<role>", {**_USER_ROLE, "allowed_user_key_lengths": {"dsa": 1024}}, role="dev")


def test_a_person_s_key_is_signed(core: Core, ready: Wire) -> None:
    """CA40: one line, its serial in hex, and the request's own event with what it was about."""
    body = {"public_key": fresh_line() + " alice@laptop\n", "valid_principals": "alice,deploy", "cert_type": "user"}
    answer = ready.data("update", "sign/<role>", {**body, "ttl": "10m"}, role="dev")
    assert answer.keys() == {"serial_number", "signed_key"}
    assert answer["signed_key"].count("\n") == 1
    assert answer["signed_key"].startswith("ssh-ed25519-cert-v01@openssh.com ")
    told = ready.caller.recorded[-1]
    assert told["object"] == "ssh/sign/dev"
    assert told["serial"] == answer["serial_number"]
    assert told["valid_principals"] == ["alice", "deploy"]
    assert told["seconds"] == 630
    assert told["public_key"].startswith("SHA256:")
    with core.database.read() as tx:
        requests = tx.execute(select(audit_events.c.object).where(audit_events.c.request_id.is_not(None))).scalars()
        assert "ssh/sign/dev" in set(requests)


def test_a_host_s_key_is_signed(ready: Wire) -> None:
    """CA41: by a host role, for a name below its domain."""
    body = {"public_key": fresh_line("p256"), "valid_principals": "db1.internal.example", "cert_type": "host"}
    assert ready.data("update", "sign/<role>", body, role="hosts")["signed_key"].startswith("ecdsa-sha2-nistp256-cert")


def test_who_asks_for_nothing_gets_the_role_s_own(ready: Wire) -> None:
    """Empty texts and empty objects are as good as nothing: some clients send every member."""
    body = {"public_key": fresh_line(), "valid_principals": "", "extensions": {}, "critical_options": "", "ttl": ""}
    ready("update", "sign/<role>", {**body, "key_id": ""}, role="dev")
    assert ready.caller.recorded[-1]["valid_principals"] == ["alice"]
    assert ready.caller.recorded[-1]["seconds"] == 1830


def test_the_five_extensions_of_a_common_client_are_refused_by_name(ready: Wire) -> None:
    """H3: `bao ssh -mode=ca` asks for five; what the role lacks is named, and so is what it has."""
    five = (
        "permit-X11-forwarding",
        "permit-agent-forwarding",
        "permit-port-forwarding",
        "permit-pty",
        "permit-user-rc",
    )
    body = {"public_key": fresh_line(), "valid_principals": "alice", "extensions": dict.fromkeys(five, "")}
    with pytest.raises(Rejected, match="permit-X11-forwarding, permit-agent-forwarding, permit-user-rc") as caught:
        ready("update", "sign/<role>", body, role="dev")
    assert "permit-port-forwarding, permit-pty" in caught.value.advice
    ready("update", "roles/<role>", {**_USER_ROLE, "allowed_extensions": ",".join(five)}, role="dev")
    assert ready.data("update", "sign/<role>", body, role="dev")["signed_key"]


@pytest.mark.parametrize(
    "changes",
    [
        {"valid_principals": "root"},
        {"valid_principals": ["alice,root"]},
        {"valid_principals": ["alice\nroot"]},
        {"valid_principals": "*"},
        {"cert_type": "host"},
        {"cert_type": "both"},
        {"ttl": "9h"},
        {"key_id": "mine"},
        {"critical_options": {"force-command": "id"}},
        {"public_key": ""},
        {"public_key": "ssh-dss AAAA"},
    ],
    ids=str,
)
def test_what_the_role_does_not_allow_is_refused(ready: Wire, changes: dict[str, Any]) -> None:
    """H1 H2 H3 H4 H5 H8: 4xx for each, and nothing is recorded as done."""
    ready.caller.recorded.clear()
    body = {"public_key": fresh_line(), "valid_principals": "alice", **changes}
    with pytest.raises((Rejected, Malformed)):
        ready("update", "sign/<role>", body, role="dev")
    assert ready.caller.recorded == []


def test_nobody_signs_without_a_token(ready: Wire) -> None:
    """Only the public keys are open."""
    ready.caller.principal = None
    with pytest.raises(Denied):
        ready("update", "sign/<role>", {"public_key": fresh_line()}, role="dev")
    assert {item.pattern for item in SshEngine.operations() if item.open} == {"public_key", "host_public_key"}


@pytest.mark.parametrize(("pattern", "role"), [("issue/<role>", "dev"), ("creds/<role>", "dev"), ("verify", None)])
def test_what_is_not_built_is_refused_by_name(ready: Wire, pattern: str, role: str | None) -> None:
    """No private key is made for others, and there are no one-time passwords; the alternative is named."""
    with pytest.raises(Rejected) as caught:
        ready("update", pattern, {}, **({} if role is None else {"role": role}))
    assert caught.value.code == "unsupported"
    assert caught.value.advice


_ODD = (
    st.none()
    | st.booleans()
    | st.integers(-5, 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.text(max_size=4))
)
_ODD |= st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4), max_size=2)


@given(st.dictionaries(st.sampled_from(RoleRequest.__struct_fields__), _ODD))
def test_no_body_makes_a_role_crash(members: dict[str, Any]) -> None:
    """D4: whatever a client sends, it is a role or a refusal."""
    try:
        role = made_role(decode(json.dumps({"allow_user_certificates": True, **members}).encode(), RoleRequest))
        role.check()
    except (Rejected, Malformed) as refusal:
        assert refusal.message  # noqa: PT017 - either way is right
    else:
        assert role.allowed_users or role.default_user


@given(st.dictionaries(st.sampled_from(SignRequest.__struct_fields__), _ODD))
def test_no_body_makes_signing_crash(members: dict[str, Any]) -> None:
    """D4: whatever a client sends, it is a wish or a refusal."""
    try:
        body = decode(json.dumps(members).encode(), SignRequest)
    except Malformed as refusal:
        assert refusal.message  # noqa: PT017 - either way is right
    else:
        with pytest.raises((Rejected, Malformed)):
            read_line(body.public_key)


def test_every_operation_has_a_summary() -> None:
    """OpenAPI, path-help and the reference page come from it."""
    assert [item.name for item in SshEngine.operations() if len(item.summary.split()) < 3] == []
