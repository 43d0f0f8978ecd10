"""What holds for all online commands: what they import, what they never show, and that help and pages know them."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import sealward as program
from tests.cli.online.people import Person
from tests.cli.online.reference import PAGE, page
from tests.service import Service

FORBIDDEN = ("pki", "hsm", "acme_server", "pkcs11", "sqlalchemy", "flask")


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "cert list",
        "cert issue absent a.example",
        "kv get secret/absent",
        "ssh ca",
        "audit list",
        "profile set web --file absent",
        "mount list",
        "policy show default",
        "token lookup",
    ],
)
def test_no_room_is_imported(administrator: Person, words: str) -> None:
    """E02: a real command, well or badly ended, has imported none of the service's code when it ends."""
    script = (
        "import sys\nfrom cli.main import run\ncode = run(sys.argv[2:])\n"
        "print([name for name in sys.argv[1].split() if name in sys.modules], file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, " ".join(FORBIDDEN), *words.split()],
        env={**administrator.environment, "PYTHONPATH": str(Path.cwd())},
        cwd=administrator.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_planted_secrets_are_seen_nowhere(administrator: Person, somebody: Person, service: Service) -> None:
    """H09: values, passwords and tokens are in no message, debug output or log of client and service."""
    planted = "planted-9f3a71"
    tokens = [service.ready["token"]]
    said = []
    for words, typed in (
        (("kv", "put", "secret/planted", "v=-"), planted),
        (("kv", "put", "secret/planted", "--json", "-"), f'{{"v": "{planted}"}}'),
        (("kv", "put", "secret/planted", "v=-", "--cas", "0"), planted),
        (("kv", "put", "secret/planted", "--json", "-"), f'["{planted}"'),
        (("kv", "put", "nowhere/planted", "v=-"), planted),
        (("kv", "put", "secret/planted", "v=-", "--address", "https://127.0.0.1:1"), planted),
        (("kv", "metadata", "secret/planted"), ""),
        (("kv", "delete", "secret/planted", "--versions", "1"), ""),
        (("kv", "get", "secret/planted", "--version", "1"), ""),
        (("login", "--method", "userpass", "--name", "dora"), planted),
        (("login", "--method", "approle", "--name", "dora"), planted),
        (("user", "set", "dora"), planted),
        (("policy", "set", "planted", "-"), f'path "{planted}'),
        (("token", "revoke"), f"sw.{planted}"),
        (("token", "lookup"), ""),
        (("audit", "list", "--limit", "1000"), ""),
        (("audit", "list", "--limit", "1000", "-o", "json"), ""),
    ):
        for person in (administrator, somebody):
            done = person.run("--debug", *words, typed=f"{typed}\n")
            said.append(done.stdout + done.stderr)
    text = "\n".join((*said, service.output))
    assert [secret for secret in (planted, *tokens) if secret in text] == []


def test_reference_page_is_current() -> None:
    """The page is what the commands say: `python -m tests.cli.online.reference` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page(program)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_every_shell(somebody: Person, shell: str) -> None:
    """The variable that docs/how-to/command-line.md names makes the command print a shell's completion."""
    done = somebody.run(environment={"_SEALWARD_COMPLETE": f"{shell}_source"})
    assert done.returncode == 0, done.stderr
    assert "sealward" in done.stdout


def test_words_are_completed(somebody: Person) -> None:
    """Commands, their commands and options are completed, without asking the service."""
    for words, found in (
        ("sealward ce", "cert"),
        ("sealward kv un", "undelete"),
        ("sealward cert issue --tt", "--ttl"),
    ):
        environment = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        done = somebody.run(environment={"_SEALWARD_COMPLETE": "bash_complete", **environment})
        assert f"plain,{found}" in done.stdout.splitlines()
