"""Documents made to harm: each is answered soon, and by Malformed or by its rules alone."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pki.errors import Malformed
from pki.policy import acl
from pki.policy.document import SIZE_LIMIT, Capability, Policy, Rule, parse
from tests.counts import count
from tests.pki.policy.documents import ACCEPTED

_CAP_SECONDS = 5
"""Far above what any takes, on a busy machine too, and far below what one step that is not linear would."""

_LONG = SIZE_LIMIT - 100


def _filled(opening: str, unit: str, closing: str = "") -> str:
    return opening + unit * ((_LONG - len(opening)) // len(unit)) + closing


_HOSTILE = {
    "lists in lists": _filled("a = ", "["),
    "blocks in blocks": _filled("", "a {"),
    "objects in objects": _filled("a = ", "{ a = "),
    "json lists": _filled('{"path": ', "["),
    "json objects": _filled("", '{"path":'),
    "json, closed": '{"path": ' + "[" * 20_000 + "]" * 20_000 + "}",
    "a string not closed": _filled('path "', "x"),
    "escapes in a string not closed": _filled('path "', "\\\\"),
    "strings of escapes": _filled('path "a" { comment = "', "\\u0061", '" }'),
    "stars in a comment not closed": _filled("/*", "*"),
    "openings of comments": _filled("", "/*"),
    "comments": _filled("", "/**/"),
    "lines of comments": _filled("", "#\n"),
    "spaces": _filled("", " ", "x"),
    "carriage returns": _filled("", "\r\n", "\r"),
    "a heredoc not closed": _filled("a = <<E\n", " \n"),
    "lines like the end of a heredoc": _filled("a = <<E\n", "E E\n"),
    "a heredoc of spaces": _filled('path "a" { comment = <<-E\n', " ", "\nE\n}"),
    "heredocs": "".join(f"a = <<E{number}\nE{number}\n" for number in range(12_000)),
    "labels": _filled("path ", '"a" '),
    "a number": _filled("a = ", "9"),
    "a number of exponents": _filled("a = ", "1e+9"),
    "a json number": _filled('{"a": ', "9", "}"),
    "keys": _filled("", "a=1\n"),
    "values": _filled("a = [", "1,", "]"),
    "capabilities": _filled('path "a" { capabilities = [', '"read",', "] }"),
    "json members": '{"path": {' + ",".join(f'"p{number}": {{}}' for number in range(15_000)) + "}}",
    "nothing but quotes": _filled("", '"'),
    "nothing but NUL": _filled("", "\0"),
    "wildcards": _filled('path "', "+/", '" {}'),
}


def _outcome(text: str) -> Policy | Malformed:
    """Return what the parser makes of it; any other exception is a failure."""
    try:
        return parse("ours", text)
    except Malformed as error:
        return error


@pytest.mark.parametrize("text", _HOSTILE.values(), ids=_HOSTILE.keys())
def test_hostile_text_is_answered_soon(text: str) -> None:
    """D1, D2: depth, length and repetition as bad as the size allows."""
    started = time.perf_counter()
    outcome = _outcome(text)
    assert time.perf_counter() - started < _CAP_SECONDS
    assert isinstance(outcome, Policy) or len(str(outcome)) < 400, "an error does not carry the document back"


@settings(max_examples=count(500, 20_000))
@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.sampled_from([*' \n\r"{}[],=#/*<+-\\:$', "path", "EOT", '"a"', "capabilities"])).map("".join),
    )
)
def test_any_text_is_read_or_malformed(text: str) -> None:
    """D4: no other exception leaves the parser."""
    outcome = _outcome(text)
    assert outcome.name == "ours" if isinstance(outcome, Policy) else outcome.advice


def test_a_damaged_policy_is_read_or_malformed() -> None:
    """D4: policies with a character lost, doubled or changed."""
    chance = random.Random(6)
    refused = 0
    for _ in range(count(5_000, 200_000)):
        text = chance.choice(ACCEPTED)
        at = chance.randrange(len(text))
        damaged = text[:at] + chance.choice(("", text[at] * 2, chance.choice('"{}[]=,\\\n\0x'))) + text[at + 1 :]
        refused += isinstance(_outcome(damaged), Malformed)
    assert refused > 1000


def test_a_cut_policy_never_gives_more() -> None:
    """What arrives in part is refused, or gives a part: no rule that the whole does not have."""
    for text in ACCEPTED:
        whole = parse("ours", text).rules
        for length in range(len(text)):
            part = _outcome(text[:length])
            assert isinstance(part, Malformed) or whole[: len(part.rules)] == part.rules, text[:length]


def test_hostile_patterns_are_decided_soon() -> None:
    """D2: every pattern matches in every way; the walk is bounded by the number of patterns."""
    chance = random.Random(7)
    read = frozenset({Capability.READ})
    patterns = {"/".join(chance.choice("a+") for _ in range(12)) + chance.choice(("", "/*")) for _ in range(4096)}
    patterns |= {"a" * length + "*" for length in range(1, 1000)}
    compiled = acl.compile([Policy("hostile", tuple(Rule(pattern, read) for pattern in patterns))])
    started = time.perf_counter()
    for path in ("a/" * 500 + "a", "a/" * 11 + "a", "a" * 1000, "a/" * 12):
        assert compiled.decide(path, "read").allowed
        assert not compiled.decide(path, "list").allowed
    assert time.perf_counter() - started < _CAP_SECONDS
