"""`sealward ceremony` as people use it: two machines, two token folders, and nothing but files carried between them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from cli.offline.check_config import to_toml
from hsm import softhsm
from tests.service import sealward

_PIN, _SO_PIN = "1234-user", "5678-officer"
_MAKE = "import sys; from hsm import softhsm; softhsm.init_token(softhsm.find_module(), 'offline', *sys.argv[1:])"
_ISSUE = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric import ec
from pki.authority.issue import Wanted
from pki.authority.names import Name
from pki.config import load
from pki.core import open_core
core = open_core(load(Path(sys.argv[1])))
key = ec.generate_private_key(ec.SECP256R1()).public_key()
print(core.gate.chain_pem(core.gate.issue(Wanted("default", key, (Name("dns", sys.argv[2]),), "test"))), end="")
core.crls.publish_due()
with core.database.read() as tx:
    row = tx.exec_driver_sql("SELECT der FROM crls WHERE issuer_id = ?", (core.issuers.named("intermediate").id,)).one()
Path(sys.argv[3]).write_bytes(row[0])
core.close()
"""


@dataclass(frozen=True)
class Machine:
    """A machine with a folder and a token folder of its own."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of sealward on it."""
        return sealward(*arguments, environment=self.environment)

    def done(self, *arguments: str | Path) -> str:
        """Run a command that must succeed, and return what it printed."""
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        return result.stdout

    def told(self, *arguments: str | Path) -> str:
        """Run a command that must fail, and return the one line that says why."""
        result = self.run(*arguments)
        assert result.returncode == 1, result.stdout
        assert result.stderr.startswith("sealward: ")
        assert result.stderr.count("\n") == 1
        return result.stderr

    def python(self, *arguments: str | Path) -> str:
        """Run a program on it."""
        environment = {**os.environ, **self.environment}
        command = [sys.executable, "-c", *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def _machine(folder: Path) -> Machine:
    return Machine(folder, {"SOFTHSM2_CONF": str(softhsm.write_config(folder / "softhsm"))})


def _offline(folder: Path) -> Machine:
    """Make the machine that never sees a network: a token, its PIN, and the keys of two people."""
    machine = _machine(folder / "offline")
    machine.python(_MAKE, _SO_PIN, _PIN)
    (machine.folder / "pin").touch(mode=0o600)
    (machine.folder / "pin").write_text(_PIN + "\n")
    for name in ("ada", "grace"):
        key = machine.folder / f"{name}.key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key], check=True)
    return machine


def _online(folder: Path) -> Machine:
    """Make the machine of the service, whose configuration says that the root is external."""
    machine = _machine(folder / "online")
    folder = machine.folder
    document = {
        "server": {
            "base_url": "https://ca.example:8443",
            "names": ["ca.corp.example"],
            "tls_directory": str(folder / "tls"),
        },
        "http": {"base_url": "http://ca.example:8080"},
        "database": {"url": f"sqlite:///{folder}/ca.db"},
        "hsm": {"module": str(softhsm.find_module()), "token_label": "online", "pin_file": str(folder / "pin")},
        "authority": {"organization": "Example Corp", "root": "external", "permitted_dns": ["corp.example"]},
    }
    (folder / "sealward.toml").write_text("\n".join(to_toml(document)))
    return Machine(folder, {**machine.environment, "SEALWARD_CONFIG": str(folder / "sealward.toml")})


def _write_script(offline: Machine, printed_text: str) -> Path:
    """Write the script, with what `ceremony request` printed for it: it is pasted, not typed."""
    printed = yaml.safe_load(printed_text.partition("script:\n")[2])
    people = {
        role: {"name": name, "key": (offline.folder / f"{name}.key.pub").read_text().strip()}
        for role, name in (("operator", "ada"), ("witness", "grace"))
    }
    root = {"organization": "Example Corp", "common_name": "Example Corp Root 1"}
    document = {
        "ceremony": "Example Corp, first root",
        "date": datetime.now(UTC).date().isoformat(),
        **people,
        "token": {"module": str(softhsm.find_module()), "label": "offline", "pin_file": "pin"},
        "base_url": printed["base_url"],
        "acts": [
            {"act": "create-root", "subject": root, "algorithm": "ec-p384", "days": 7300},
            *printed["acts"],
            {"act": "crl", "number": 1, "days": 400},
        ],
    }
    path = offline.folder / "script.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def _openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=20)


def _carry(source: Machine, target: Machine, *names: str) -> None:
    for name in names:
        shutil.copy(source.folder / name, target.folder / Path(name).name)


@dataclass(frozen=True)
class Held:
    """Both machines after a ceremony, whose results are carried back and not yet installed."""

    offline: Machine
    online: Machine

    @property
    def out(self) -> Path:
        """The ceremony's folder."""
        return self.offline.folder / "out"

    def copy_to(self, folder: Path) -> Path:
        """Return a copy of the ceremony's folder, to be spoilt."""
        return Path(shutil.copytree(self.out, folder / "copy"))


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Held:
    """Do all of it up to what is carried back."""
    folder = tmp_path_factory.mktemp("ceremony")
    offline, online = _offline(folder), _online(folder)
    online.done("init")
    fragment = online.done("ceremony", "request", "--out", online.folder / "intermediate.csr")
    _carry(online, offline, "intermediate.csr")
    script = _write_script(offline, fragment)
    for name in ("ada", "grace"):
        offline.done("ceremony", "sign-script", script, "--key", offline.folder / f"{name}.key")
    offline.done("ceremony", "run", script, "--out", offline.folder / "out")
    _carry(offline, online, "out/root.pem", "out/intermediate.pem", "out/root.crl", "out/transcript.jsonl")
    return Held(offline, online)


def test_a_root_in_another_token_certifies_the_service(held: Held) -> None:
    """CA49 Z-B12: a whole ceremony over two token folders; a leaf verifies in openssl, CRLs of both CAs checked."""
    out, online = held.out, held.online
    folder = online.folder
    shown = online.done("ceremony", "verify", folder / "transcript.jsonl", folder / "root.pem")
    assert "transcript.jsonl is whole: 18 lines." in shown
    for words in ("Example Corp, first root", "ada, ssh-ed25519 ", "grace, ssh-ed25519 ", "intermediate.pem, SHA-256 "):
        assert words in shown
    printed = online.done(
        "ceremony", "install", folder / "intermediate.pem", folder / "root.pem", "--crl", folder / "root.crl"
    )
    assert "The root's CRL 1 is published." in printed
    fingerprint = _openssl("x509", "-in", out / "root.pem", "-noout", "-fingerprint", "-sha256").stdout
    assert fingerprint.strip().partition("=")[2] in printed
    chain, crl = folder / "chain.pem", folder / "intermediate.crl"
    chain.write_text(online.python(_ISSUE, folder / "sealward.toml", "a.corp.example", crl))
    pem = _openssl("crl", "-inform", "DER", "-in", crl).stdout
    (folder / "all.crl").write_text(pem + (folder / "root.crl").read_text())
    verdict = _openssl(
        *("verify", "-x509_strict", "-purpose", "sslserver", "-crl_check_all", "-CRLfile", folder / "all.crl"),
        *("-CAfile", folder / "root.pem", "-untrusted", chain, chain),
    )
    assert verdict.returncode == 0, verdict.stderr
    assert "already" in online.done("ceremony", "install", folder / "intermediate.pem", folder / "root.pem")
    assert "it is initialised already" in online.told("init")
    assert (folder / "tls" / "root.pem").read_bytes() == (out / "root.pem").read_bytes()


def test_no_secret_leaves_the_offline_machine(held: Held) -> None:
    """K1: what is carried back is public; the PIN is in none of it."""
    names = ["intermediate.pem", "root.crl", "root.pem", "transcript.jsonl"]
    assert sorted(path.name for path in held.out.iterdir()) == names
    for path in held.out.iterdir():
        assert _PIN not in path.read_text()
        assert "PRIVATE KEY" not in path.read_text()


def test_lost_outputs_are_written_again_from_the_transcript(held: Held, tmp_path: Path) -> None:
    """Killed after the transcript was closed, the next run writes the files, and the same ones."""
    out = held.copy_to(tmp_path)
    run = ("ceremony", "run", held.offline.folder / "script.yaml", "--out", out)
    for name in ("root.pem", "root.crl"):
        (out / name).unlink()
    held.offline.done(*run)
    for name in ("root.pem", "root.crl"):
        assert (out / name).read_bytes() == (held.out / name).read_bytes()
    assert "was held already" in held.offline.told(*run)
    (out / "root.crl").write_text("another")
    assert "root.crl is not what came out" in held.offline.told(*run)


def _edited(lines: list[str]) -> list[str]:
    return [*lines[:8], lines[8].replace('"step":1', '"step":2'), *lines[9:]]


def _removed(lines: list[str]) -> list[str]:
    return [*lines[:8], *lines[9:]]


def _swapped(lines: list[str]) -> list[str]:
    return [*lines[:8], lines[9], lines[8], *lines[10:]]


@pytest.mark.parametrize("tamper", [_edited, _removed, _swapped])
def test_a_tampered_transcript_is_refused_by_its_line(
    held: Held, tmp_path: Path, tamper: Callable[[list[str]], list[str]]
) -> None:
    """Z-B12: one line on the terminal, which names the line of the transcript."""
    path = held.copy_to(tmp_path) / "transcript.jsonl"
    path.write_text("".join(tamper(path.read_text().splitlines(keepends=True))))
    line = held.online.told("ceremony", "verify", path, held.out / "root.pem")
    assert "line 9: " in line
    assert "do not trust this transcript" in line


def test_what_is_missing_is_told_before_anything_is_done(tmp_path: Path) -> None:
    """No signature, no request, no configuration: each in one line with what to do next."""
    offline, online = _offline(tmp_path), _online(tmp_path)
    assert "there is no intermediate yet" in _before_install(online)
    fragment = online.done("ceremony", "request", "--out", online.folder / "intermediate.csr")
    script = _write_script(offline, fragment)
    run = ("ceremony", "run", script, "--out", offline.folder / "out")
    assert "ada runs `sealward ceremony sign-script" in offline.told(*run)
    for name in ("ada", "grace"):
        offline.done("ceremony", "sign-script", script, "--key", offline.folder / f"{name}.key")
    assert "carry it here" in offline.told(*run)
    assert not (offline.folder / "out" / "transcript.jsonl").exists()
    root = offline.folder / "script.yaml"
    assert "is no certificate in PEM" in online.told("ceremony", "install", root, root)
    assert "is no CRL in PEM" in online.told("ceremony", "install", "--crl", root)
    wrong = online.run("ceremony", "install", root)
    assert wrong.returncode == 2
    assert "No such file" in online.told("ceremony", "install", "--crl", online.folder / "absent")


def _before_install(online: Machine) -> str:
    """Initialise, and try to serve."""
    assert "Next: sealward ceremony request" in online.done("init")
    assert "Next: sealward ceremony request" in online.done("init")
    return online.told("serve")
