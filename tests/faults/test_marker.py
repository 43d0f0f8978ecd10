"""Secrets with a marker in them are handed in wherever one can be, rightly and wrongly, and then looked for."""

import base64
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.faults.crash_load import CutOffError
from tests.faults.four_kinds_api import Api, Reply
from tests.faults.marker_search import Search, files_below, processes, spellings
from tests.service import Service, sealward

_LARGE = 2 << 20


@dataclass
class House:
    """A running service, its backups and temporary files, and what is looked for in them."""

    service: Service
    api: Api
    temporary: Path
    search: Search
    shown: str

    @property
    def folder(self) -> Path:
        """Where all of it is."""
        return self.service.data.parent

    def marker(self, what: str) -> str:
        """Return a new secret."""
        return self.search.add(what, f"{secrets.token_hex(4)}Marker{secrets.token_hex(6)}")

    def refused(self, reply: Reply, what: str) -> None:
        """Expect a refusal that does not repeat the secret."""
        assert 400 <= reply.status < 500, (what, reply.status)
        assert self.search.secrets[what] not in reply.body, (what, reply.body)

    def places(self) -> dict[str, bytes]:
        """Return all that the service has written or shows, but for files whose purpose is to hold a secret."""
        data = self.service.data
        meant = [data / name for name in ("pin", "so-pin", "ready.json", "root-token")]
        return files_below(self.folder, leave_out=meant) | processes(self.service.pid)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Give a house whose log, command line and environment hold a word that is meant to be there."""
    shown = f"{secrets.token_hex(4)}Shown{secrets.token_hex(6)}"
    folder, temporary = tmp_path / "house", tmp_path / "house" / "temporary"
    temporary.mkdir(parents=True)
    environment = {"TMPDIR": str(temporary), "SEALWARD_TEST_SHOWN": shown}
    with Service(folder / f"data-{shown}", environment=environment) as service:
        search = Search()
        search.add("root token", service.ready["token"].partition(".")[2])
        for name in ("pin", "so-pin"):
            search.add(name, (service.data / name).read_text().strip())
        yield House(service, Api.of(service), temporary, search, shown)


@pytest.mark.parametrize("name", spellings(b"secret"))
@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_search_finds_every_spelling(name: str, before: int) -> None:
    """L1: whatever stands before and behind the secret."""
    search = Search()
    secret = search.add("secret", f"{secrets.token_hex(8)}?>~").encode()
    around = os.urandom(before) + secret + os.urandom(5)
    text = f"{'x' * before}{secret.decode()}xyz"
    written = {
        "raw": around,
        "hex": around.hex().encode(),
        "HEX": around.hex().upper().encode(),
        "utf-16-le": text.encode("utf-16-le"),
        "utf-16-be": text.encode("utf-16-be"),
    }
    encode = base64.urlsafe_b64encode if name.startswith("base64url") else base64.b64encode
    found = search.hits({"place": written.get(name) or encode(around), "other": os.urandom(1000)})
    expected = name if name in written else f"{name.partition('+')[0]}+{before % 3}"
    assert f"secret: {expected} in place" in found
    assert not any(hit.endswith("other") for hit in found)


def test_words_that_are_meant_to_be_seen_are_found(house: House) -> None:
    """L1: the search can fail: paths and custom metadata are in clear, a folder's name is in log and command line."""
    words = Search()
    path, note = words.add("path", f"{secrets.token_hex(8)}-path"), words.add("note", f"{secrets.token_hex(8)}-note")
    words.add("shown", house.shown)
    house.api.post(f"secret/metadata/{path}", {"custom_metadata": {"note": note}})
    house.api.post(f"secret/data/{path}", {"data": {"value": "x"}})
    hits = words.hits(house.places())
    data = house.service.data
    for what in ("path", "note"):
        assert any(hit.startswith(f"{what}: raw in {data}/sealward.db") for hit in hits), hits
    assert f"shown: raw in {house.service.log}" in hits
    for pid in (house.service.pid, max(int(name.split()[-1]) for name in processes(house.service.pid))):
        assert f"shown: raw in environ of {pid}" in hits
    assert f"shown: raw in cmdline of {house.service.pid}" in hits


def test_no_secret_is_anywhere_but_where_it_belongs(house: House) -> None:
    """A01 H09 L1: after use, misuse, removal, backup and restart: nothing in database, logs, backups, /proc, files."""
    _use(house)
    _use_by_command(house)
    _misuse(house)
    _misuse_tokens(house)
    _misuse_the_wire(house)
    _use_logins(house)
    _have_a_key(house)
    _back_up(house)
    assert house.search.hits(house.places()) == []
    assert len(house.search.secrets) > 40
    first_log = house.service.output
    assert house.service.stop() == 0
    house.service.start()
    assert house.search.hits({**house.places(), "first log": first_log.encode()}) == []
    assert "Traceback" not in first_log


def _use(house: House) -> None:
    api, marker = house.api, house.marker
    for removal in ("kept", "deleted", "destroyed", "removed", "pruned"):
        for version in range(12 if removal == "pruned" else 2):
            data = {"value": marker(f"{removal} {version}"), marker(f"name in {removal} {version}"): [version]}
            assert api.post(f"secret/data/{removal}", {"data": data}).status == 200
        assert api.get(f"secret/data/{removal}")["data"] == data
    patched = marker("patched")
    header = "application/merge-patch+json"
    body = json.dumps({"data": {"patched": patched}}).encode()
    assert api.send("PATCH", "secret/data/kept", body, Content_Type=header).status == 200
    assert api.get("secret/data/kept")["data"]["patched"] == patched
    assert api.ask("DELETE", "secret/data/deleted").status == 204
    api.post("secret/destroy/destroyed", {"versions": [1, 2]})
    assert api.ask("DELETE", "secret/metadata/removed").status == 204


def _use_by_command(house: House) -> None:
    """Write and read by the command line, whose own processes are looked at while they wait."""
    piped, filed = house.marker("by stdin"), house.marker("by file")
    file = house.folder.parent / "value"
    file.write_text(filed)
    environment = {
        **os.environ,
        "SEALWARD_ADDR": house.service.address,
        "SEALWARD_CACERT": str(house.service.ca_file),
        "XDG_CONFIG_HOME": str(house.folder.parent / "config"),
    }
    environment.pop("SEALWARD_TOKEN", None)
    done = sealward("login", "--help", environment=environment)
    assert done.returncode == 0
    kept = house.folder.parent / "config" / "sealward"
    kept.mkdir(parents=True)
    (kept / "default.token").touch(mode=0o600)
    (kept / "default.token").write_text(house.api.token)
    command = [sys.executable, "-m", "cli", "kv", "put", "secret/command", "piped=-", f"filed=@{file}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as writer:
        assert writer.stdin is not None
        writer.stdin.write(piped.encode())
        writer.stdin.flush()
        assert house.search.hits(processes(writer.pid)) == []
        said, _ = writer.communicate(timeout=60)
    assert writer.returncode == 0, said
    assert house.search.hits({"output": said}) == []
    assert house.api.get("secret/data/command")["data"] == {"piped": piped, "filed": filed}
    refused = sealward("kv", "put", "secret/command", f"value={house.marker('argument')}", environment=environment)
    assert refused.returncode != 0
    assert house.search.hits({"refusal": (refused.stdout + refused.stderr).encode()}) == []


def _misuse(house: House) -> None:
    """Hand secrets in where the request fails: wrong types, no JSON, no right, no such place."""
    bodies: dict[str, str] = {
        "no JSON": '{"data": {"value": "%s"}',
        "wrong type": '{"data": "%s"}',
        "wrong type of options": '{"data": {}, "options": "%s"}',
        "wrong type of cas": '{"data": {"value": "x"}, "options": {"cas": "%s"}}',
        "cas that does not match": '{"data": {"value": "%s"}, "options": {"cas": 99}}',
        "a list": '["%s"]',
        "a text": '"%s"',
        "no UTF-8": '{"data": {"value": "%s\udcff"}}',
        "a number too long": '{"data": {"value": "%s", "n": 1e999999}}',
        "nested too deeply": '{"data": {"value": "%s", "n": ' + "[" * 5000 + "]" * 5000 + "}}",
        "name twice": '{"data": {"value": "%s"}, "data": 1}',
        "too large": '{"data": {"value": "%s", "n": "' + "x" * _LARGE + '"}}',
    }
    for what, body in bodies.items():
        octets = (body % house.marker(what)).encode(errors="surrogateescape")
        with suppress(CutOffError):  # what is too large may be refused before it is sent
            house.refused(house.api.send("POST", "secret/data/misused", octets), what)
    elsewhere = {
        "no mount": ("POST", "nowhere/data/x"),
        "no operation": ("POST", "secret/nothing/x"),
        "no method": ("TRACE", "secret/data/x"),
        "bad path": ("POST", "secret/data//x"),
        "key of an SSH CA": ("POST", "ssh/config/ca"),
        "unknown path": ("POST", "sys/nothing"),
        "wrong role": ("POST", "pki/sign/absent"),
        "no CSR": ("POST", "pki/sign/default"),
    }
    for what, (method, path) in elsewhere.items():
        value = house.marker(what)
        body = {"data": {"value": value}, "private_key": value, "csr": value, "type": 1}
        house.refused(house.api.ask(method, path, body), what)
    weak = Api(house.api._port, house.service.ca_file, _child(house, "weak token"))
    house.refused(weak.ask("POST", "secret/data/x", {"data": {"value": house.marker("denied")}}), "denied")
    house.refused(weak.ask("PUT", "secret/data/x?version=1", {"data": house.marker("denied too")}), "denied too")


def _child(house: House, what: str) -> str:
    reply = house.api.post("auth/token/create", {"policies": ["default"]})
    token = str(reply.document["auth"]["client_token"])
    house.search.add(what, token.partition(".")[2])
    return token


def _misuse_tokens(house: House) -> None:
    """Use tokens that live, have died and never were, in headers and bodies."""
    api = house.api
    alive, dead = _child(house, "living token"), _child(house, "dead token")
    assert api.post("auth/token/lookup", {"token": alive}).data["id"] == alive
    api.post("auth/token/renew", {"token": alive})
    api.post("auth/token/revoke", {"token": dead})
    for operation in ("lookup", "renew"):
        assert api.ask("POST", f"auth/token/{operation}", {"token": dead}).status == 403
    for operation in ("lookup", "renew", "revoke"):
        for what in (f"no token to {operation}", f"almost a token to {operation}"):
            value = house.marker(what)
            given = value if what.startswith("no") else f"sw.{value}".ljust(46, "A")
            for body in ({"token": given}, {"token": [given]}, {"token": {"x": given}}, {"accessor": given}):
                reply = api.ask("POST", f"auth/token/{operation}", body)
                assert house.search.secrets[what] not in reply.body
            accessor = api.ask("POST", f"auth/token/{operation}-accessor", {"accessor": given})
            assert house.search.secrets[what] not in accessor.body
    for what, name in (("header", "X-Vault-Token"), ("bearer", "Authorization"), ("basic", "Authorization")):
        value = house.marker(f"in {what}")
        sent = {"header": value, "bearer": f"Bearer {value}", "basic": f"Basic {value}"}[what]
        stranger = Api(api._port, house.service.ca_file, "")
        reply = stranger.send("GET", "secret/data/kept", **{name.replace("-", "_"): sent})
        assert reply.status in {400, 403}
        assert value.encode() not in reply.body


def _misuse_the_wire(house: House) -> None:
    """Send what is no request, and headers that are not taken."""
    for name in ("X-Vault-Namespace", "X-Vault-Wrap-TTL", "X-Vault-MFA", "Content-Type", "X-Request-Id", "User-Agent"):
        reply = house.api.send("GET", "secret/data/kept", **{name.replace("-", "_"): house.marker(name)})
        assert house.search.secrets[name] not in reply.body
    for name in ("version", "list", "help"):
        what = f"{name} in the query"
        reply = house.api.ask("GET", f"secret/data/kept?{name}={house.marker(what)}")
        assert house.search.secrets[what] not in reply.body
    requests = {
        "NUL in a header": "GET /v1/secret/data/kept HTTP/1.1\r\nHost: x\r\nX-Vault-Token: %s\0\r\n\r\n",
        "two lengths": "POST /v1/secret/data/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\n%s",
        "no version": "GET /v1/sys/health %s\r\n\r\n",
        "bad chunk": "POST /v1/secret/data/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n%s\r\n",
        "cut body": "POST /v1/secret/data/x HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n%s",
    }
    for what, text in requests.items():
        received = _sent_raw(house, (text % house.marker(what)).encode())
        assert house.search.secrets[what] not in received, what
    _sent_raw(house, house.marker("no TLS").encode(), tls=False)


def _sent_raw(house: House, octets: bytes, *, tls: bool = True) -> bytes:
    """Send octets, and nothing more; return what comes back within a second."""
    context = ssl.create_default_context(cafile=str(house.service.ca_file))
    with socket.create_connection(("127.0.0.1", house.api._port), 5) as raw:
        connection = context.wrap_socket(raw, server_hostname="127.0.0.1") if tls else raw
        connection.sendall(octets)
        connection.settimeout(1)
        try:
            return connection.recv(1 << 16)
        except OSError:
            return b""
        finally:
            connection.close()


def _use_logins(house: House) -> None:
    """Log in by password and by secret-id, rightly and wrongly."""
    _use_passwords(house)
    _use_secret_ids(house)


def _use_passwords(house: House) -> None:
    api, password, new, wrong = house.api, *map(house.marker, ("password", "new password", "wrong password"))
    api.post("auth/userpass/users/bob", {"password": password, "policies": "default"})
    _logged_in(house, "userpass/login/bob", {"password": password})
    api.post("auth/userpass/users/bob/password", {"password": new})
    _logged_in(house, "userpass/login/bob", {"password": new})
    for path, given in (
        ("users/eve", [wrong]),
        ("users/eve", {"x": wrong}),
        ("login/bob", wrong),
        ("login/bob", [wrong]),
    ):
        house.refused(api.ask("POST", f"auth/userpass/{path}", {"password": given}), "wrong password")
    as_name = house.marker("password sent as the name")
    reply = api.ask("POST", f"auth/userpass/login/{as_name}", {"password": "x"})
    house.refused(reply, "password sent as the name")


def _use_secret_ids(house: House) -> None:
    api, wrong = house.api, house.marker("wrong secret-id")
    chosen = house.search.add("chosen secret-id", secrets.token_hex(20))
    api.post("auth/approle/role/app", {"token_policies": "default"})
    role_id = api.get("auth/approle/role/app/role-id")["role_id"]
    given = api.post("auth/approle/role/app/secret-id").data["secret_id"]
    house.search.add("secret-id", given)
    api.post("auth/approle/role/app/custom-secret-id", {"secret_id": chosen})
    for secret_id in (given, chosen):
        _logged_in(house, "approle/login", {"role_id": role_id, "secret_id": secret_id})
    api.post("auth/approle/role/app/secret-id/lookup", {"secret_id": given})
    api.post("auth/approle/role/app/secret-id/destroy", {"secret_id": chosen})
    for operation in ("lookup", "destroy"):
        reply = api.ask("POST", f"auth/approle/role/app/secret-id/{operation}", {"secret_id": wrong})
        assert wrong.encode() not in reply.body
    for body in (
        {"role_id": role_id, "secret_id": wrong},
        {"role_id": wrong, "secret_id": given},
        {"secret_id": [wrong]},
    ):
        house.refused(api.ask("POST", "auth/approle/login", body), "wrong secret-id")


def _logged_in(house: House, path: str, body: dict[str, str]) -> None:
    """Log in, and look for the token too."""
    token = house.api.post(f"auth/{path}", body).document["auth"]["client_token"]
    house.search.add(f"token {len(house.search.secrets)}", token.partition(".")[2])


def _have_a_key(house: House) -> None:
    """Have a private key made, which is in the answer alone."""
    pem = house.api.post("pki/issue/default", {"alt_names": "a.example.com"}).data["private_key"]
    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    house.search.add("private key", key.private_numbers().private_value.to_bytes(32))
    house.search.add("private key in PEM", re.sub(r"-----.*?-----|\s", "", pem)[48:88])


def _back_up(house: House) -> None:
    """Make a backup, restore it for trial and for good, beside the service."""
    backup, bare = house.folder / "house.backup", house.folder / "bare"
    data = house.service.data
    bare.mkdir()
    for name in ("token", "lock"):
        copy = shutil.copytree if (data / name).is_dir() else shutil.copy
        copy(data / name, bare / name)
    pin = house.folder.parent / "pin"
    shutil.copy(data / "pin", pin)
    (bare / "pin").symlink_to(pin)
    for command in (
        ("backup", "--data", data, "--to", backup),
        ("restore", "--data", bare, "--check", backup),
        ("restore", "--data", bare, backup),
    ):
        done = sealward(*command, environment={"TMPDIR": str(house.temporary)})
        assert done.returncode == 0, done.stderr
        assert house.search.hits({"output": (done.stdout + done.stderr).encode()}) == []
    assert (bare / "sealward.db").is_file()
    (bare / "pin").unlink()
