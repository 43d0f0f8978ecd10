"""Scripts: read strictly, since what two people sign must mean one thing."""

from pathlib import Path
from typing import Any

import pytest

from pki.ceremony.script import Crl, SignIntermediate, parse_script, read_script
from pki.errors import Misconfigured
from tests.pki.ceremony.stage import Stage

LABEL = "root of ceremony 0123456789"


def _parse(stage: Stage) -> Any:
    return parse_script(stage.script.read_bytes())


def test_a_script_is_read_as_it_was_meant(stage: Stage) -> None:
    """Z-B12: acts in their order, with defaults for what need not be said."""
    script = _parse(stage)
    assert [type(act).__name__ for act in script.acts] == ["CreateRoot", "SignIntermediate", "Crl"]
    assert isinstance(script.acts[1], SignIntermediate)
    assert (script.acts[1].path_length, script.acts[1].permitted_dns) == (0, ("corp.example",))
    assert isinstance(script.acts[2], Crl)
    assert [person.name for person in script.people] == ["ada", "grace"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1\nb: *x\n", "line 1: anchors, aliases and tags are not read"),
        ("a: !!python/object/apply:os.system [id]\n", "line 1: anchors, aliases and tags are not read"),
        ("a: 1\na: 2\n", "line 1: the key 'a' stands twice"),
        ("? [a, b]\n: 1\n", "the key"),
        ("[" * 5000, "it is not YAML of a plain kind"),
        ("a: [\n", "line 2"),
        ("", "Expected `object`"),
        ("a: 1\n---\nb: 2\n", "but found another document"),
        ("a: " + "x" * 70_000, "more than 65536 octets"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_yaml_that_could_mean_something_else_is_refused(stage: Stage, text: str | bytes, message: str) -> None:
    """No anchor, alias or tag, no key twice, one document of a bounded size; the error says where."""
    stage.script.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Misconfigured) as refused:
        read_script(stage.script)
    assert message in str(refused.value)


def test_words_that_yaml_takes_for_something_else_stay_text(stage: Stage) -> None:
    """A country code `no` is Norway, and a name `on` is a name."""
    stage.document["acts"][0]["subject"] = {"country": "XX", "common_name": "YY"}
    stage.write()
    stage.script.write_text(stage.script.read_text().replace("XX", "no").replace("YY", "on"))
    assert _parse(stage).acts[0].subject.name().rfc4514_string() == "CN=on,C=no"


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("acts", 0, "days"), 0, "$.acts[0].days"),
        (("acts", 0, "unknown"), 1, "unknown field `unknown`"),
        (("acts", 0, "algorithm"), "rsa-1024", "no such key algorithm"),
        (("acts", 0, "file"), "../root.pem", "$.acts[0].file"),
        (("acts", 0, "subject"), {"country": "Norway", "common_name": "x"}, "$.acts[0].subject.country"),
        (("acts", 1, "permitted_ip"), ["10.0.0.1/8"], "has host bits set"),
        (("acts", 1, "request_sha256"), "00", "$.acts[1].request_sha256"),
        (("acts", 1, "act"), "destroy-everything", "Invalid value 'destroy-everything'"),
        (("acts", 2, "file"), "root.pem", "each act needs a file of its own"),
        (("acts", 2, "file"), "transcript.jsonl", "each act needs a file of its own"),
        (("acts", 2, "revoked"), [{"serial": "01", "date": "2026-02-30"}], "day"),
        (("acts", 2, "revoked"), [{"serial": "01", "date": "2026-02-03", "reason": 6}], "a reason is one of"),
        (("acts",), [], "$.acts"),
        (("date",), "tomorrow", "isoformat"),
        (("base_url",), "https://ca.example", "base_url must be an http URL"),
        (("base_url",), "http://ca.example/", "base_url must be an http URL"),
        (("operator", "name"), "../x", "$.operator.name"),
        (("operator", "name"), "grace", "operator and witness are one person"),
        (("clear",), ["KEK"], "$.clear[0]"),
        (("root",), {"certificate": "r.pem", "sha256": "0" * 64, "key_label": LABEL}, "either the first act"),
    ],
)
def test_a_script_that_cannot_be_meant_is_refused(
    stage: Stage, place: tuple[str | int, ...], value: object, message: str
) -> None:
    """Each mistake is told before anybody signs, with its place."""
    target: Any = stage.document
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    stage.write()
    with pytest.raises(Misconfigured) as refused:
        read_script(stage.script)
    assert message in str(refused.value)


def test_a_root_is_made_once_and_first(stage: Stage) -> None:
    """The other acts sign with it; without it, the script names one that exists."""
    acts = stage.document["acts"]
    for order in ([acts[1], acts[0]], [acts[0], {**acts[0], "file": "b.pem"}], [acts[2]]):
        stage.write(acts=order)
        with pytest.raises(Misconfigured, match="either the first act"):
            read_script(stage.script)


def test_the_key_of_the_root_in_use_cannot_be_cleared(stage: Stage) -> None:
    """What is cleared is what a broken ceremony left, never the root."""
    root = {"certificate": "r.pem", "sha256": "0" * 64, "key_label": LABEL}
    stage.write(root=root, clear=[LABEL], acts=stage.document["acts"][2:])
    with pytest.raises(Misconfigured, match="names the key of the root"):
        read_script(stage.script)


def test_an_absent_script_is_told_in_one_line(tmp_path: Path) -> None:
    """The path stands in the error."""
    with pytest.raises(Misconfigured, match=r"absent\.yaml"):
        read_script(tmp_path / "absent.yaml")
