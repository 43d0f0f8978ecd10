"""An everyday script over hvac, unmodified: the calls that people write, and what hvac makes of the answers."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hvac
import hvac.exceptions
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_ssh_public_identity
from cryptography.x509.oid import NameOID

from tests.interop import clients
from tests.interop.deadlines import eventually
from tests.interop.sshd import make_key
from tests.service import Service

pytestmark = pytest.mark.interop

_HCL = """
path "secret/data/app/*" { capabilities = ["create", "read", "update", "patch", "delete"] }
path "secret/metadata/app/*" { capabilities = ["read", "list", "delete"] }
"""
_ROLE = {"token_policies": ["app"], "token_ttl": "10m"}
_PASSWORD = "correct horse battery"  # noqa: S105 - the test's own


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give a running service."""
    clients.VERSIONS["hvac"] = importlib.metadata.version("hvac")
    with Service(tmp_path_factory.mktemp("hvac") / "data") as running:
        yield running
    assert "Traceback" not in running.output, "no client may bring about an error of the service's own"


def _client(house: Service, token: str | None = None) -> Any:
    return hvac.Client(url=house.address, token=token, verify=str(house.ca_file))


@pytest.fixture
def root(house: Service) -> Any:
    """Give a client with the root token."""
    return _client(house, house.ready["token"])


def test_a_token_is_authenticated_and_another_is_not(house: Service, root: Any) -> None:
    """What `is_authenticated` asks, lookup-self, is answered by 403 for no token and a wrong one."""
    assert root.is_authenticated() is True
    assert _client(house).is_authenticated() is False
    assert _client(house, "sw.no-token").is_authenticated() is False
    with pytest.raises(hvac.exceptions.Forbidden, match="permission denied"):
        _client(house).secrets.kv.v2.read_secret_version(path="app", raise_on_deleted_version=True)


def test_an_application_logs_in_by_approle(house: Service, root: Any) -> None:
    """It gets a token of the role's policies alone, may do what they say, and is refused the rest (E01)."""
    root.sys.create_or_update_policy("app", _HCL)
    created = root.auth.approle.create_or_update_approle("worker", **_ROLE)
    assert created.status_code == 204
    role_id = root.auth.approle.read_role_id("worker")["data"]["role_id"]
    secret_id = root.auth.approle.generate_secret_id("worker")["data"]["secret_id"]
    worker = _client(house)
    login = worker.auth.approle.login(role_id=role_id, secret_id=secret_id)
    assert login["auth"]["policies"] == ["app", "default"]
    assert login["auth"]["lease_duration"] == 600
    assert worker.is_authenticated()
    worker.secrets.kv.v2.create_or_update_secret(path="app/db", secret={"password": "pw"})
    with pytest.raises(hvac.exceptions.Forbidden):
        worker.secrets.kv.v2.create_or_update_secret(path="other", secret={"password": "pw"})
    with pytest.raises(hvac.exceptions.InvalidRequest):
        _client(house).auth.approle.login(role_id=role_id, secret_id=secret_id[::-1])
    assert worker.auth.token.revoke_self().status_code == 204
    assert not worker.is_authenticated()


def test_a_person_logs_in_by_userpass(house: Service, root: Any) -> None:
    """A user is made, listed, logs in, and with a wrong password does not."""
    made = root.auth.userpass.create_or_update_user("alice", password=_PASSWORD, policies=["default"])
    assert made.status_code == 204
    assert "alice" in root.auth.userpass.list_user()["data"]["keys"]
    alice = _client(house)
    login = alice.auth.userpass.login("alice", _PASSWORD)
    assert login["auth"]["metadata"] == {"username": "alice"}
    assert alice.token == login["auth"]["client_token"]
    assert alice.is_authenticated()
    with pytest.raises(hvac.exceptions.InvalidRequest, match="invalid username or password"):
        _client(house).auth.userpass.login("alice", f"not {_PASSWORD}")
    assert root.auth.userpass.delete_user("alice").status_code == 204


# Its `patch` reads by a default of its own, of which it warns.
@pytest.mark.filterwarnings("ignore:The raise_on_deleted_version parameter:DeprecationWarning")
def test_a_secret_lives_through_its_versions(root: Any) -> None:
    """Create, read, patch, list, delete, undelete, destroy, metadata: the whole life (E01, E02)."""
    kv = root.secrets.kv.v2
    assert kv.create_or_update_secret(path="life/one", secret={"a": "1", "b": "ü"})["data"]["version"] == 1
    read = kv.read_secret_version(path="life/one", raise_on_deleted_version=True)["data"]
    assert (read["data"], read["metadata"]["version"]) == ({"a": "1", "b": "ü"}, 1)
    assert kv.patch(path="life/one", secret={"b": "2"})["data"]["version"] == 2
    assert _values(kv, "life/one") == {"a": "1", "b": "2"}
    assert _values(kv, "life/one", 1) == {"a": "1", "b": "ü"}
    assert "life/" in kv.list_secrets(path="")["data"]["keys"]
    assert kv.list_secrets(path="life")["data"]["keys"] == ["one"]
    kv.delete_secret_versions(path="life/one", versions=[1])
    kv.delete_latest_version_of_secret(path="life/one")
    with pytest.raises(hvac.exceptions.InvalidPath):
        kv.read_secret_version(path="life/one", raise_on_deleted_version=True)
    gone = kv.read_secret_version(path="life/one", raise_on_deleted_version=False)["data"]
    assert gone["data"] is None
    assert gone["metadata"]["deletion_time"]
    kv.undelete_secret_versions(path="life/one", versions=[1, 2])
    assert _values(kv, "life/one") == {"a": "1", "b": "2"}
    kv.destroy_secret_versions(path="life/one", versions=[1])
    about = kv.read_secret_metadata(path="life/one")["data"]
    assert [about["versions"][number]["destroyed"] for number in ("1", "2")] == [True, False]
    assert kv.delete_metadata_and_all_versions("life/one").status_code == 204
    with pytest.raises(hvac.exceptions.InvalidPath):
        kv.read_secret_metadata(path="life/one")


def _values(kv: Any, path: str, version: int | None = None) -> Any:
    return kv.read_secret_version(path=path, version=version, raise_on_deleted_version=True)["data"]["data"]


def test_check_and_set_lets_one_writer_win(root: Any) -> None:
    """A write that follows another version than it says is refused with the words that clients look for."""
    kv = root.secrets.kv.v2
    assert kv.create_or_update_secret(path="cas", secret={"n": 1}, cas=0)["data"]["version"] == 1
    with pytest.raises(hvac.exceptions.InvalidRequest, match="check-and-set parameter did not match"):
        kv.create_or_update_secret(path="cas", secret={"n": 2}, cas=0)
    assert kv.create_or_update_secret(path="cas", secret={"n": 2}, cas=1)["data"]["version"] == 2
    assert kv.update_metadata(path="cas", max_versions=3, cas_required=True).status_code == 204
    with pytest.raises(hvac.exceptions.InvalidRequest, match="check-and-set"):
        kv.create_or_update_secret(path="cas", secret={"n": 3})


def test_a_mount_has_settings(root: Any) -> None:
    """`configure` and `read_configuration` of the engine."""
    kv = root.secrets.kv.v2
    assert kv.configure(max_versions=7, mount_point="secret").status_code in {200, 204}
    assert kv.read_configuration(mount_point="secret")["data"]["max_versions"] == 7
    kv.configure(max_versions=0, mount_point="secret")


def test_policies_are_written_listed_read_and_deleted(root: Any) -> None:
    """As HCL and as JSON; by the new path and by the old."""
    assert root.sys.create_or_update_policy("hcl", _HCL).status_code == 204
    assert root.sys.read_policy("hcl")["data"]["rules"] == _HCL
    json_policy = {"path": {"secret/data/x": {"capabilities": ["read"]}}}
    assert root.sys.create_or_update_acl_policy("json", policy=json_policy).status_code == 204
    assert "secret/data/x" in root.sys.read_acl_policy("json")["data"]["policy"]
    assert {"default", "hcl", "json", "root"} <= set(root.sys.list_policies()["data"]["policies"])
    assert {"hcl", "json"} <= set(root.sys.list_acl_policies()["data"]["keys"])
    assert root.sys.delete_policy("hcl").status_code == 204
    assert root.sys.delete_acl_policy("json").status_code == 204
    with pytest.raises(hvac.exceptions.InvalidPath):
        root.sys.read_policy("hcl")


def test_tokens_are_made_looked_up_renewed_and_revoked(house: Service, root: Any) -> None:
    """By the token, by its accessor, by itself; a revoked one is refused at once."""
    tokens = root.auth.token
    made = tokens.create(policies=["default"], ttl="1h", display_name="script", meta={"for": "test"})["auth"]
    about = tokens.lookup(made["client_token"])["data"]
    assert (about["display_name"], about["meta"]) == ("token-script", {"for": "test"})
    assert 3590 <= about["ttl"] <= 3600
    assert tokens.lookup_accessor(made["accessor"])["data"]["policies"] == ["default"]
    assert made["accessor"] in tokens.list_accessors()["data"]["keys"]
    holder = _client(house, made["client_token"])
    assert holder.auth.token.lookup_self()["data"]["accessor"] == made["accessor"]
    assert tokens.renew(made["client_token"], increment="2h")["auth"]["lease_duration"] == 3600
    assert holder.auth.token.renew_self(increment="2h")["auth"]["lease_duration"] == 3600
    assert tokens.renew_accessor(made["accessor"])["auth"]["renewable"] is True
    assert holder.sys.get_capabilities(["secret/data/x"])["data"]["capabilities"] == ["deny"]
    assert root.sys.get_capabilities(["secret/data/x"], token=made["client_token"])["capabilities"] == ["deny"]
    orphan = tokens.create_orphan(policies=["default"], ttl="5m")["auth"]
    assert orphan["orphan"] is True
    assert tokens.revoke(made["client_token"]).status_code == 204
    assert not holder.is_authenticated()
    assert tokens.revoke_accessor(orphan["accessor"]).status_code == 204
    with pytest.raises(hvac.exceptions.Forbidden):
        tokens.lookup(orphan["client_token"])


def test_the_state_of_the_house_is_read_without_a_token(house: Service) -> None:
    """Health, seal status, initialisation and leader: what programs ask before they log in."""
    anyone = _client(house)
    assert anyone.sys.read_health_status(method="HEAD").status_code == 200
    assert anyone.sys.read_health_status(method="GET")["initialized"] is True
    assert anyone.sys.is_initialized() is True
    assert anyone.sys.is_sealed() is False
    assert anyone.sys.read_seal_status()["type"] == "pkcs11"
    assert anyone.sys.read_leader_status()["ha_enabled"] is False
    assert anyone.seal_status["sealed"] is False


def test_mounts_are_made_tuned_and_removed(root: Any) -> None:
    """Of secrets engines and of auth methods; types that are not here are refused by name."""
    assert {"secret/", "pki/", "ssh/", "sys/"} <= root.sys.list_mounted_secrets_engines()["data"].keys()
    assert {"token/", "approle/", "userpass/"} <= root.sys.list_auth_methods()["data"].keys()
    assert root.sys.enable_secrets_engine("kv", path="team", options={"version": "2"}).status_code == 204
    assert root.sys.tune_mount_configuration("team", description="the team's").status_code == 204
    assert root.sys.list_mounted_secrets_engines()["data"]["team/"]["description"] == "the team's"
    root.secrets.kv.v2.create_or_update_secret(path="a", secret={"x": "y"}, mount_point="team")
    assert root.sys.disable_secrets_engine("team").status_code == 204
    assert root.sys.enable_auth_method("userpass", path="people").status_code == 204
    assert root.sys.disable_auth_method("people").status_code == 204
    with pytest.raises(hvac.exceptions.InvalidRequest, match="transit"):
        root.sys.enable_secrets_engine("transit")
    with pytest.raises(hvac.exceptions.InvalidRequest, match="ldap"):
        root.sys.enable_auth_method("ldap")


def test_a_certificate_is_signed_and_its_chain_read(house: Service, root: Any) -> None:
    """A role, a request, the certificate, the chain as three calls give it, the list, and the revocation (C01)."""
    pki = root.secrets.pki
    role = {"allowed_domains": "a.example", "allow_subdomains": True}
    assert pki.create_or_update_role("web", role)["data"]["allowed_domains"] == ["a.example"]
    assert "web" in pki.list_roles()["data"]["keys"]
    signed = pki.sign_certificate("web", _request("www.a.example"), "www.a.example", {"ttl": "1h"})["data"]
    certificate = x509.load_pem_x509_certificate(signed["certificate"].encode())
    issuer = x509.load_pem_x509_certificate(signed["issuing_ca"].encode())
    certificate.verify_directly_issued_by(issuer)
    root_ca = x509.load_pem_x509_certificate(house.ca_file.read_bytes())
    issuer.verify_directly_issued_by(root_ca)
    assert x509.load_pem_x509_certificates(pki.read_ca_certificate().encode()) == [issuer]
    assert x509.load_pem_x509_certificates(pki.read_ca_certificate_chain().encode()) == [issuer, root_ca]
    assert [x509.load_pem_x509_certificate(pem.encode()) for pem in signed["ca_chain"]] == [issuer, root_ca]
    serial = signed["serial_number"]
    assert pki.read_certificate(serial)["data"]["certificate"].strip() == signed["certificate"].strip()
    assert serial in pki.list_certificates()["data"]["keys"]
    assert pki.revoke_certificate(serial)["data"]["revocation_time"] > 0
    eventually(lambda: _revocation(pki, certificate), 2, lambda: "the CRL does not say so")
    with pytest.raises(hvac.exceptions.InvalidRequest, match=r"evil\.example"):
        pki.sign_certificate("web", _request("evil.example"), "evil.example")
    assert pki.delete_role("web").status_code == 204


def _revocation(pki: Any, certificate: x509.Certificate) -> x509.RevokedCertificate | None:
    crl = x509.load_pem_x509_crl(pki.read_crl().encode())
    return crl.get_revoked_certificate_by_serial_number(certificate.serial_number)


def _request(name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def test_an_ssh_key_is_signed(root: Any, tmp_path: Path) -> None:
    """A role, the CA's key, and a certificate for the role's login name (D01)."""
    ssh = root.secrets.ssh
    role = {"key_type": "ca", "allow_user_certificates": True, "allowed_users": "deploy", "default_user": "deploy"}
    assert ssh.create_role(name="deployers", **role).status_code == 204
    assert ssh.read_role("deployers")["data"]["allowed_users"] == "deploy"
    assert "deployers" in ssh.list_roles()["data"]["keys"]
    public_key = make_key(tmp_path / "id")
    signed = ssh.sign_ssh_key(name="deployers", public_key=public_key, valid_principals="deploy")["data"]
    certificate = load_ssh_public_identity(signed["signed_key"].encode())
    certificate.verify_cert_signature()  # type: ignore[union-attr]
    assert certificate.valid_principals == [b"deploy"]  # type: ignore[union-attr]
    assert ssh.read_public_key()["data"]["public_key"].startswith("ssh-ed25519 ")
    with pytest.raises(hvac.exceptions.InvalidRequest, match="principal"):
        ssh.sign_ssh_key(name="deployers", public_key=public_key, valid_principals="root")
    assert ssh.delete_role("deployers").status_code == 204


def test_plain_reads_and_writes_work_on_every_path(root: Any) -> None:
    """Scripts that know paths, not methods: `read`, `write_data`, `list`, `delete`; nothing there is None."""
    assert root.write_data("secret/data/plain", data={"data": {"k": "v"}})["data"]["version"] == 1
    assert root.read("secret/data/plain")["data"]["data"] == {"k": "v"}
    assert "plain" in root.list("secret/metadata")["data"]["keys"]
    root.delete("secret/metadata/plain")
    assert root.read("secret/data/plain") is None
    assert root.list("secret/metadata/nothing") is None


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda root: root.sys.seal(), "not supported"),
        (lambda root: root.sys.enable_audit_device("file", options={"file_path": "audit"}), "not made or removed"),
        (lambda root: root.secrets.transit.create_key("k"), "no handler for route"),
        (lambda root: root.auth.token.create(policies=["default"], wrap_ttl="1m"), "wrapping is not supported"),
        (lambda root: root.auth.token.create(type="batch"), "batch"),
        (lambda root: root.sys.enable_secrets_engine("kv", path="one", options={"version": "1"}), "version 1"),
    ],
)
def test_what_is_not_served_is_refused_by_its_name(root: Any, call: Any, says: str) -> None:
    """No call is answered as if it had been done (decision 1)."""
    with pytest.raises(hvac.exceptions.VaultError, match=says):
        call(root)
