"""`sealward kv`: what goes in by files and standard input comes out to the octet, and goes away for good when meant."""

import json

import pytest

from tests.cli.online.people import Person, hire

ODD = 'tab\t, quote ", back\\slash, \u00fcml\u00e4ut, \u26a0, \U0001f511, carriage\r\n, nul-like \x01, end\n\n'


@pytest.fixture
def owner(administrator: Person, somebody: Person) -> Person:
    """An application's owner, by name."""
    policy = "\n".join(
        f'path "secret/{part}/*" {{ capabilities = ["create", "read", "update", "delete", "list"] }}'
        for part in ("data", "metadata", "delete", "undelete", "destroy")
    )
    return hire(administrator, somebody, "owner", policy)


def test_text_comes_back_to_the_octet(owner: Person) -> None:
    """A file's text, odd as it is, goes in by NAME=@FILE and comes out by --field without a change."""
    (owner.folder / "odd.txt").write_bytes(ODD.encode())
    assert owner.sees("kv", "put", "secret/odd/text", "text=@odd.txt")["version"] == 1
    assert owner.run("kv", "get", "secret/odd/text", "--field", "text").stdout == ODD
    assert owner.sees("kv", "get", "secret/odd/text") == {"text": ODD}


def test_one_line_end_of_standard_input_is_taken_off(owner: Person) -> None:
    """What `echo` sends has a line end that nobody meant; a file's stays."""
    owner.does("kv", "put", "secret/odd/stdin", "password=-", typed="correct horse\n")
    assert owner.does("kv", "get", "secret/odd/stdin", "--field", "password") == "correct horse"


def test_json_comes_back_as_it_was(owner: Person) -> None:
    """All fields at once from JSON, numbers and lists included; in JSON and YAML, and a member alone."""
    document = {"text": ODD, "number": 12345678901234567890, "list": [1, None, {"deep": True}], "empty": ""}
    owner.does("kv", "put", "secret/odd/json", "--json", "-", typed=json.dumps(document))
    assert owner.sees("kv", "get", "secret/odd/json") == document
    assert json.loads(owner.does("kv", "get", "secret/odd/json", "--field", "list")) == document["list"]
    assert "deep: true" in owner.does("kv", "get", "secret/odd/json", "-o", "yaml")
    assert "no member" in owner.fails(5, "kv", "get", "secret/odd/json", "--field", "absent")


@pytest.mark.parametrize("text", ["no json", "[1]", '{"a": NaN}', "", "[" * 100_000])
def test_what_is_no_json_object_is_wrong_usage(owner: Person, text: str) -> None:
    """2, and nothing of the text is told, which may be a secret."""
    line = owner.fails(2, "kv", "put", "secret/bad", "--json", "-", typed=text)
    assert "holds" in line


def test_binary_is_refused_with_a_way_out(owner: Person) -> None:
    """Octets that are no text would come back changed: 2, and the way is base64."""
    assert "base64" in owner.fails(2, "kv", "put", "secret/bad", "a=-", typed=b"\xff\xfe\x00")


def test_value_on_the_command_line_is_refused(owner: Person) -> None:
    """H09: what others can read in the list of processes is not taken, and not repeated either."""
    for given in ("password=planted-in-argv", "planted-in-argv", "=planted-in-argv", "password="):
        assert "planted-in-argv" not in owner.fails(2, "kv", "put", "secret/bad", given)
    owner.fails(2, "kv", "put", "secret/bad", "a=-", "b=-", typed="x")
    owner.fails(2, "kv", "put", "secret/bad", "a=-", "--json", "-", typed="{}")
    owner.fails(2, "kv", "put", "secret/bad")
    owner.fails(5, "kv", "get", "secret/bad")


def test_check_and_set_conflicts(owner: Person) -> None:
    """--cas writes only over the version that was read: else 6, and the value is as it was."""
    owner.does("kv", "put", "secret/cas", "v=-", "--cas", "0", typed="one")
    assert "check-and-set" in owner.fails(6, "kv", "put", "secret/cas", "v=-", "--cas", "0", typed="two")
    owner.does("kv", "put", "secret/cas", "v=-", "--cas", "1", typed="three")
    assert owner.does("kv", "get", "secret/cas", "--field", "v") == "three"
    assert owner.does("kv", "get", "secret/cas", "--version", "1", "--field", "v") == "one"


def test_folders_are_listed_with_a_slash(owner: Person) -> None:
    """A list shows names and folders; an empty one is no failure."""
    owner.does("kv", "put", "secret/tree/leaf", "v=-", typed="x")
    owner.does("kv", "put", "secret/tree/branch/leaf", "v=-", typed="x")
    assert owner.does("kv", "list", "secret/tree").split() == ["branch/", "leaf"]
    assert owner.sees("kv", "list", "secret/tree/branch/") == ["leaf"]
    assert owner.does("kv", "list", "secret/nothing") == ""


def test_deleted_version_can_be_had_back(owner: Person) -> None:
    """`get` of a deleted version is 5, and says how to have it back."""
    owner.does("kv", "put", "secret/gone", "v=-", typed="value")
    owner.does("kv", "delete", "secret/gone")
    assert "kv undelete secret/gone --versions 1" in owner.fails(5, "kv", "get", "secret/gone")
    owner.does("kv", "undelete", "secret/gone", "--versions", "1")
    assert owner.does("kv", "get", "secret/gone", "--field", "v") == "value"
    owner.does("kv", "delete", "secret/gone", "--versions", "1")
    owner.fails(5, "kv", "get", "secret/gone")
    assert owner.sees("kv", "metadata", "secret/gone")["current_version"] == 1


@pytest.mark.parametrize("option", ["--destroy", "--all"])
def test_destruction_needs_a_yes(owner: Person, option: str) -> None:
    """What cannot be had back is not dropped without --yes by a program: 2, and all is there still."""
    owner.does("kv", "put", "secret/dear", "v=-", typed="value")
    assert "--yes" in owner.fails(2, "kv", "delete", "secret/dear", option, typed="y\n")
    assert owner.does("kv", "get", "secret/dear", "--field", "v") == "value"
    owner.does("kv", "delete", "secret/dear", option, "--yes")
    line = owner.fails(5, "kv", "get", "secret/dear")
    assert ("destroyed" in line) == (option == "--destroy")


def test_destruction_is_asked_about_at_a_terminal(owner: Person) -> None:
    """A person is asked: no leaves everything and exits with 1, yes goes on."""
    owner.does("kv", "put", "secret/asked", "v=-", typed="value")
    code, shown = owner.sits("kv", "delete", "secret/asked", "--all", typed="n\n")
    assert code == 1
    assert "This drops secret/asked with all its versions, for good. Go on?" in shown
    assert "nothing was done" in shown
    assert owner.does("kv", "get", "secret/asked", "--field", "v") == "value"
    code, _ = owner.sits("kv", "delete", "secret/asked", "--all", typed="y\n")
    assert code == 0
    owner.fails(5, "kv", "get", "secret/asked")


def test_values_are_hidden_on_a_terminal(owner: Person) -> None:
    """A table before somebody's eyes shows names; --show and --field show values, and no value steers the terminal."""
    owner.does("kv", "put", "secret/shown", "v=-", typed="planted\x1b[2J")
    code, shown = owner.sits("kv", "get", "secret/shown")
    assert (code, "planted" in shown, "(hidden" in shown) == (0, False, True)
    for options in (("--show",), ("--field", "v"), ("-o", "json"), ("-o", "yaml")):
        _, shown = owner.sits("kv", "get", "secret/shown", *options)
        assert "planted" in shown
        assert "\x1b" not in shown


def test_value_is_asked_for_at_a_terminal(owner: Person) -> None:
    """NAME=- at a terminal asks, and what is typed is not shown."""
    code, shown = owner.sits("kv", "put", "secret/typed", "password=-", typed="planted-typing\n")
    assert code == 0, shown
    assert "planted-typing" not in shown
    assert owner.does("kv", "get", "secret/typed", "--field", "password") == "planted-typing"


@pytest.mark.parametrize(
    "path", ["secret", "secret/", "", "secret/a/../b", "secret/./a", "secret/a//b", "secret/a\x1b"]
)
def test_path_that_is_none_is_wrong_usage(owner: Person, path: str) -> None:
    """A path that a client would resolve, or that no secret can have, reaches no service: 2."""
    for words in (("kv", "get", path), ("kv", "delete", path, "--all", "--yes")):
        assert "is n" in owner.fails(2, *words)


def test_nobody_else_reads_it(administrator: Person, owner: Person, somebody: Person) -> None:
    """Another's token without the policy: 4, and the log says who tried; a mount that is not there is 5."""
    owner.does("kv", "put", "secret/private", "v=-", typed="value")
    stranger = hire(administrator, somebody, "stranger", 'path "secret/data/other" { capabilities = ["read"] }')
    assert "read on secret/data/private" in stranger.fails(4, "kv", "get", "secret/private")
    (event, *_) = administrator.sees("audit", "list", "--actor", "token-stranger", "--object", "secret/data/private")
    assert (event["action"], event["outcome"]) == ("kv.read", "denied")
    assert "no handler" in administrator.fails(5, "kv", "get", "nowhere/x")
