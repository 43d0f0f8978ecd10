"""`sealward login` and what it keeps; where commands find the service; who is let in."""

import json
from pathlib import Path

import pytest

from tests.cli.online.people import Person, hire
from tests.cli.online.sockets import http, server
from tests.service import Service

SELF = 'path "secret/data/self" { capabilities = ["read"] }'


def test_login_keeps_the_token_for_its_owner_alone(service: Service, somebody: Person) -> None:
    """The token comes by standard input, and is kept with mode 0600 in a folder of mode 0700."""
    done = somebody.run("login", typed=service.ready["token"])
    assert done.returncode == 0
    assert done.stdout == ""
    assert "Logged in as root" in done.stderr
    assert service.ready["token"] not in done.stderr
    assert somebody.token_file.stat().st_mode & 0o777 == 0o600
    assert somebody.token_file.parent.stat().st_mode & 0o777 == 0o700
    assert somebody.does("token", "lookup", "--field", "display_name") == "root"


def test_token_is_typed_without_echo(service: Service, somebody: Person) -> None:
    """At a terminal the token is asked for, and not shown."""
    code, shown = somebody.sits("login", typed=f"{service.ready['token']}\n")
    assert code == 0, shown
    assert "Token:" in shown
    assert service.ready["token"] not in shown


@pytest.mark.parametrize("given", ["sw.wrong", "sw." + "A" * 43])
def test_wrong_token_does_not_log_in(somebody: Person, given: str) -> None:
    """3, and nothing is kept; the token is not repeated."""
    line = somebody.fails(3, "login", typed=f"{given}\n")
    assert "not logged in" in line
    assert given not in line
    assert not somebody.token_file.exists()


@pytest.mark.parametrize("given", ["", "\n", "two words\n", "t\u00f6ken\n", b"\xff\xfe\n"])
def test_what_is_no_token_is_wrong_usage(somebody: Person, given: str | bytes) -> None:
    """2, before anything is sent."""
    somebody.environment["SEALWARD_ADDR"] = "https://127.0.0.1:1"
    assert "oken" in somebody.fails(2, "login", typed=given)
    assert "--name" in somebody.fails(2, "login", "--method", "userpass", typed="x\n")


def test_nobody_is_logged_in_at_first(somebody: Person) -> None:
    """Without a token: 3, with the way to get one; `logout` has nothing to do."""
    assert "run `sealward login`" in somebody.fails(3, "kv", "get", "secret/x")
    assert "not logged in" in somebody.run("logout").stderr


def test_logout_revokes_the_token_that_was_kept(administrator: Person, somebody: Person) -> None:
    """After `logout` the token opens nothing, wherever it was copied; the one of the environment is not touched."""
    hire(administrator, somebody, "leaver", SELF)
    copied = somebody.token_file.read_text().strip()
    other = administrator.does("token", "create", "--policy", "leaver", "--field", "client_token")
    assert somebody.run("logout", environment={"SEALWARD_TOKEN": other}).returncode == 0
    assert not somebody.token_file.exists()
    assert somebody.run("token", "lookup", environment={"SEALWARD_TOKEN": copied}).returncode == 3
    assert somebody.run("token", "lookup", environment={"SEALWARD_TOKEN": other}).returncode == 0


def test_revoked_token_is_logged_out_all_the_same(administrator: Person, somebody: Person) -> None:
    """What was revoked elsewhere is forgotten by `logout` without a complaint."""
    hire(administrator, somebody, "gone", SELF)
    accessor = somebody.does("token", "lookup", "--field", "accessor")
    administrator.does("token", "revoke", accessor)
    assert "no longer good" in somebody.fails(3, "token", "lookup")
    somebody.does("logout")
    assert not somebody.token_file.exists()


def test_token_file_that_others_can_read_is_refused(service: Service, somebody: Person) -> None:
    """2, with the command that mends it."""
    somebody.logs_in(service.ready["token"])
    somebody.token_file.chmod(0o644)
    assert f"chmod 600 {somebody.token_file}" in somebody.fails(2, "token", "lookup")


def test_contexts_hold_settings_and_tokens_apart(service: Service, somebody: Person) -> None:
    """A section of config.toml names a service, and its token is its own; options go before the environment."""
    for name in ("SEALWARD_ADDR", "SEALWARD_CACERT"):
        del somebody.environment[name]
    config = somebody.settings / "sealward/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[here]\naddress = "{service.address}/"\nca_file = "{service.ca_file}"\noutput = "json"\n')
    somebody.does("login", "--context", "here", typed=service.ready["token"])
    assert (config.parent / "here.token").exists()
    found = somebody.run("token", "lookup", environment={"SEALWARD_CONTEXT": "here"})
    assert json.loads(found.stdout)["display_name"] == "root"
    assert somebody.does("token", "lookup", "--context", "here", "-o", "yaml").startswith("accessor: ")
    assert "absent" in somebody.fails(2, "token", "lookup", "--context", "absent")


@pytest.mark.parametrize(
    "text", ["[default\n", "default = 1\n", "[default]\naddres = 'x'\n", "[default]\ntimeout = 5\n"]
)
def test_config_that_is_wrong_is_wrong_usage(somebody: Person, text: str) -> None:
    """A misspelt key would send a token elsewhere, so it is refused: 2, with the file's name."""
    config = somebody.settings / "sealward/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(text)
    assert "config.toml" in somebody.fails(2, "status")


@pytest.mark.parametrize(
    "words",
    [
        ("--address", "http://ca.example:8443"),
        ("--address", "ca.example:8443"),
        ("--address", "https://user:planted@ca.example"),
        ("--address", "https://"),
        ("--address", "https://ca.example:port"),
        ("--ca-file", "absent.pem"),
        ("--ca-file", "."),
        ("--output", "xml"),
        ("--timeout", "soon"),
        ("--timeout", "nan"),
        ("--timeout", "0"),
        ("--frob",),
        ("more",),
    ],
)
def test_settings_that_cannot_be_are_wrong_usage(somebody: Person, words: tuple[str, ...]) -> None:
    """2 in one line, before anything is sent: above all no token in clear, and none to a place that is unclear."""
    assert "planted" not in somebody.fails(2, "status", *words)


def test_file_without_a_root_is_wrong_usage(somebody: Person) -> None:
    """A file that holds no certificate is told as that, not as distrust of the service."""
    (somebody.folder / "no.pem").write_text("nothing")
    assert "no certificate" in somebody.fails(2, "status", "--ca-file", "no.pem")


def test_status_needs_no_token(somebody: Person, tmp_path: Path) -> None:
    """0 while it serves; 7 when it is sealed, with the facts in both cases."""
    found = somebody.sees("status")
    assert (found["initialized"], found["sealed"]) == (True, False)
    with server(http("299 Sealed", b'{"sealed": true, "initialized": true}')) as running:
        done = somebody.run("status", "--address", running.address, "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["sealed"]) == (7, True)
    assert b"sealedcode=299" in running.received[0]
    assert tmp_path.exists()
