"""`sealward token`, `policy`, `mount`, `user`, `approle` and `audit`: who may do what, and who did."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.online.people import Person, hire

SELF = 'path "secret/data/self" { capabilities = ["read"] }\n'


def test_token_does_what_its_policy_says(administrator: Person, somebody: Person) -> None:
    """A token is made with a policy, a lifetime and a name; its holder sees them, but never the token itself."""
    hire(administrator, somebody, "narrow", SELF, "--ttl", "10m")
    about = somebody.sees("token", "lookup")
    assert (about["display_name"], about["creation_ttl"]) == ("token-narrow", 600)
    assert "id" not in about
    assert somebody.sees("policy", "check", "secret/data/self", "pki/sign/web") == {
        "secret/data/self": ["read"],
        "pki/sign/web": ["deny"],
    }
    somebody.fails(4, "policy", "list")
    somebody.fails(4, "token", "create", "--policy", "other")


def test_token_is_renewed_and_found_by_its_accessor(administrator: Person, somebody: Person) -> None:
    """`renew` gives more time, and an administrator finds and revokes the token without knowing it."""
    hire(administrator, somebody, "renewed", SELF, "--ttl", "10m")
    assert somebody.sees("token", "renew", "--increment", "5m")["lease_duration"] >= 300
    accessor = somebody.does("token", "lookup", "--field", "accessor")
    assert administrator.sees("token", "lookup", accessor)["display_name"] == "token-renewed"
    assert accessor in administrator.does("token", "list").split()
    administrator.does("token", "revoke", accessor)
    somebody.fails(3, "token", "lookup")


def test_token_is_revoked_by_itself_or_by_its_holder(administrator: Person, somebody: Person) -> None:
    """A token found in the wrong place is revoked by standard input, never by an argument; --self is one's own."""
    hire(administrator, somebody, "lost", SELF)
    administrator.does("token", "revoke", typed=somebody.token_file.read_text())
    somebody.fails(3, "token", "lookup")
    hire(administrator, somebody, "lost", SELF)
    somebody.does("token", "revoke", "--self")
    assert "no longer good" in somebody.fails(3, "token", "lookup")
    assert "--self" in administrator.fails(2, "token", "revoke", "accessor", "--self")


def test_token_is_good_for_as_many_requests_as_it_says(administrator: Person, somebody: Person) -> None:
    """--uses counts: after the last one it opens nothing."""
    made = administrator.does("token", "create", "--policy", "default", "--uses", "1", "--field", "client_token")
    somebody.environment["SEALWARD_TOKEN"] = made
    assert somebody.sees("token", "lookup")["num_uses"] <= 1
    assert "no longer good" in somebody.fails(3, "token", "lookup")


def test_policy_is_shown_as_it_was_written(administrator: Person) -> None:
    """HCL and JSON come back with their comments and spaces; a deleted one is gone, and a wrong one refused."""
    for text in (f"# why\n{SELF}", '{"path": {"secret/data/self": {"capabilities": ["read"]}}}\n'):
        administrator.does("policy", "set", "written", "-", typed=text)
        assert administrator.does("policy", "show", "written") == text
    assert administrator.sees("policy", "show", "written")["version"] == 2
    administrator.fails(6, "policy", "set", "written", "-", "--cas", "1", typed=SELF)
    assert "written" in administrator.does("policy", "list").split()
    administrator.does("policy", "delete", "written")
    administrator.fails(5, "policy", "show", "written")
    administrator.fails(1, "policy", "set", "written", "-", typed='path "x" { capabilities = ["fly"] }')
    administrator.fails(2, "policy", "set", "a/b", "-", typed=SELF)


def test_engine_is_mounted_used_and_removed(administrator: Person) -> None:
    """A mount serves at once; removing it takes --yes, since all that is in it goes."""
    administrator.does("mount", "add", "team/a", "kv", "--description", "of team a")
    (row,) = [row for row in administrator.sees("mount", "list") if row["path"] == "team/a/"]
    assert (row["type"], row["options"]) == ("kv", {"version": "2"})
    administrator.does("kv", "put", "db", "v=-", "--mount", "team/a", typed="value")
    assert administrator.does("kv", "get", "db", "--mount", "team/a", "--field", "v") == "value"
    assert administrator.does("kv", "list", "", "--mount", "team/a") == "db\n"
    administrator.fails(6, "mount", "add", "team/a", "kv")
    administrator.fails(1, "mount", "add", "team/b", "nonsense")
    assert "--yes" in administrator.fails(2, "mount", "remove", "team/a")
    administrator.does("mount", "remove", "team/a", "--yes")
    administrator.fails(5, "kv", "get", "db", "--mount", "team/a")


def test_mount_is_administered_by_those_who_may(administrator: Person, somebody: Person) -> None:
    """Without the right nothing is mounted: 4."""
    hire(administrator, somebody, "nobody", SELF)
    somebody.fails(4, "mount", "add", "mine", "kv")
    somebody.fails(4, "mount", "remove", "secret", "--yes")
    assert "read on sys/mounts" in somebody.fails(4, "mount", "list")


def test_log_is_filtered(administrator: Person) -> None:
    """`audit list` narrows by every option, and shows the newest last."""
    administrator.does("kv", "put", "secret/filtered", "v=-", typed="value")
    administrator.does("kv", "get", "secret/filtered")
    events = administrator.sees("audit", "list", "--object", "secret/data/filtered", "--since", "1m")
    assert [event["action"] for event in events] == ["kv.write", "kv.read"]
    assert all(event["actor"].startswith("root") for event in events)
    only = administrator.sees(
        "audit", "list", "--object", "secret/data/filtered", "--action", "kv.write", "--limit", "1"
    )
    assert [event["action"] for event in only] == ["kv.write"]
    assert administrator.sees("audit", "list", "--object", "secret/data/filtered", "--outcome", "denied") == []
    administrator.fails(1, "audit", "list", "--since", "nonsense")
    table = administrator.does("audit", "list", "--limit", "1").splitlines()
    assert table[0].split() == ["AT", "ACTOR", "ACTION", "OBJECT", "OUTCOME"]


def test_log_is_followed(administrator: Person) -> None:
    """`audit tail` prints an event as a line of JSON within seconds of the act, and not its own reading."""
    words = [sys.executable, "-m", "cli", "audit", "tail", "--output", "json"]
    environment = {**administrator.environment, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment, cwd=administrator.folder) as following:
        try:
            assert following.stdout is not None
            os.set_blocking(following.stdout.fileno(), False)
            administrator.does("kv", "put", "secret/followed", "v=-", typed="value")
            seen, deadline = b"", time.monotonic() + 20
            while b"secret/data/followed" not in seen and time.monotonic() < deadline:
                seen += following.stdout.read() or b""
                time.sleep(0.1)
        finally:
            following.terminate()
    events = [json.loads(line) for line in seen.splitlines()]
    assert ("kv.write", "secret/data/followed") in [(event["action"], event["object"]) for event in events]
    assert "system.read_log" not in [event["action"] for event in events]


@pytest.mark.parametrize("noun", ["user", "approle"])
def test_whoever_logs_in_is_administered(administrator: Person, noun: str) -> None:
    """People and programs are made, listed, shown, changed and deleted; what is not given stays."""
    password = ("--no-password",) if noun == "user" else ()
    administrator.does(noun, "set", "one", "--policy", "narrow", "--ttl", "20m", typed="a long pass phrase\n")
    administrator.does(noun, "set", "one", "--ttl", "30m", *password)
    about = administrator.sees(noun, "show", "one")
    assert (about["token_policies"], about["token_ttl"]) == (["narrow"], 1800)
    assert "one" in administrator.does(noun, "list").split()
    administrator.does(noun, "delete", "one")
    administrator.fails(5, noun, "show", "one")


def test_person_logs_in_by_a_password(administrator: Person, somebody: Person) -> None:
    """userpass: the right password gives a token; a wrong one, or another name, is 3 and says no more."""
    administrator.does("policy", "set", "narrow", "-", typed=SELF)
    administrator.does("user", "set", "carol", "--policy", "narrow", typed="planted pass phrase\n")
    lines = {
        somebody.fails(3, "login", "--method", "userpass", "--name", name, typed="wrong pass phrase\n")
        for name in ("carol", "nobody")
    }
    assert len(lines) == 1
    done = somebody.run("login", "--method", "userpass", "--name", "carol", typed="planted pass phrase\n")
    assert done.returncode == 0, done.stderr
    assert "planted" not in done.stderr
    assert somebody.sees("token", "lookup")["display_name"] == "userpass-carol"


def test_program_logs_in_by_a_secret_id(administrator: Person, somebody: Person) -> None:
    """approle: role-id and secret-id give a token; a secret-id that was used up is 3."""
    administrator.does("policy", "set", "narrow", "-", typed=SELF)
    administrator.does("approle", "set", "worker", "--policy", "narrow", "--secret-id-uses", "1")
    role_id = administrator.does("approle", "show", "worker", "--field", "role_id")
    secret_id = administrator.does("approle", "secret-id", "worker", "--field", "secret_id")
    words = ("login", "--method", "approle", "--name", role_id)
    somebody.does(*words, typed=f"{secret_id}\n")
    assert somebody.sees("policy", "check", "secret/data/self") == {"secret/data/self": ["read"]}
    assert secret_id not in somebody.fails(3, *words, typed=f"{secret_id}\n")
