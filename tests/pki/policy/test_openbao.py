"""Verdicts and documents as a real OpenBao has them."""

import random

import pytest

from pki.errors import Malformed
from pki.policy import acl
from pki.policy.document import Capability, parse
from tests.counts import count
from tests.pki.policy import dice
from tests.pki.policy.documents import ACCEPTED, REFUSED, STRICTER
from tests.pki.policy.openbao import OpenBao

_PATTERN_SEGMENTS = ("a", "a", "a", "b", "b", "ab", "ab", "+", "+", "+", "+a", "a+")
_PATH_SEGMENTS = ("a", "a", "a", "b", "b", "ab", "ab", "aba", "+", "+a", "a+")
_PATHS = 100

_FOLDERS = (
    [("kv/s", ["list", "scan", "read"])],
    [("kv/s/", ["list", "scan", "read"])],
    [("kv/+", ["list", "scan", "read"])],
    [("kv/s/*", ["list", "scan", "read"])],
    [("kv/s/r/*", ["deny"]), ("kv/s/*", ["list", "scan", "read"])],
    [("kv/s/r", ["deny"]), ("kv/s/*", ["list", "scan", "read"])],
    [("kv/s/r/", ["deny"]), ("kv/s/*", ["list", "scan", "read"])],
    [("kv/s/+/*", ["deny"]), ("kv/s/*", ["list", "scan", "read"])],
    [("kv/s/r", ["list"]), ("kv/s/r/*", ["deny"])],
    [("kv/s/r", ["deny"]), ("kv/s/r/", ["list"])],
    [("kv/s/r/*", ["list"]), ("kv/s/+", ["deny"])],
    [("kv/s/*", ["list", "scan"]), ("kv/s/r", ["read"])],
)
"""Rules that speak of a folder with its slash, without it, or of what is in it."""


def test_verdicts_equal_sys_capabilities_on_random_policies(bao: OpenBao) -> None:
    """DESIGN decision 4: 10,000 random pairs of policies and path; 100,000 in the soak."""
    chance = random.Random(5)
    pairs = given = 0
    while pairs < count(10_000, 100_000):
        documents = [dice.rules(chance, _PATTERN_SEGMENTS) for _ in range(chance.randint(1, 3))]
        paths = [dice.path(chance, _PATH_SEGMENTS) for _ in range(_PATHS)]
        theirs = bao.capabilities(bao.token([dice.hcl(written) for written in documents]), paths)
        compiled = acl.compile(dice.policies(documents))
        for path in paths:
            assert compiled.capabilities(path) == theirs[path], (documents, path)
            pairs += 1
            given += theirs[path] != ("deny",)
    assert given > pairs // 20, "the dice must hit often enough to tell the evaluators apart"


def test_the_root_token_has_the_capability_root_alone(bao: OpenBao) -> None:
    """The root policy is answered by its name."""
    assert bao.capabilities(bao.root_token, ["a", "a/"]) == {"a": ("root",), "a/": ("root",)}


@pytest.mark.parametrize("rules", _FOLDERS, ids=lambda rules: " ".join(f"{at}:{given[0]}" for at, given in rules))
def test_requests_to_folders_are_decided_alike(bao: OpenBao, rules: list[tuple[str, list[str]]]) -> None:
    """P3: LIST, SCAN and GET are sent with and without a slash at the end of the path."""
    assert bao.answer("POST", "sys/mounts/kv", {"type": "kv"}).status_code in {204, 400}
    text = dice.hcl([(at, frozenset(given)) for at, given in rules])
    token, compiled = bao.token([text]), acl.compile([parse("ours", text)])
    for path in ("kv/s", "kv/s/", "kv/s/r", "kv/s/r/", "kv/s/r/t", "kv/s/r/t/"):
        for method, capability in (("LIST", "list"), ("SCAN", "scan"), ("GET", "read")):
            status = bao.answer(method, path, token=token).status_code
            assert status in {200, 403, 404}
            assert compiled.decide(path, capability).allowed == (status != 403), (path, method)


@pytest.mark.parametrize("given", [["read"], ["sudo"], ["read", "sudo"], ["deny", "read", "sudo"]])
def test_a_privileged_path_needs_sudo_beside_the_verb(bao: OpenBao, given: list[str]) -> None:
    """The same rule must give both; sys/audit is such a path."""
    text = dice.hcl([("sys/audit", frozenset(given)), ("sys/*", frozenset({"read", "sudo"}))])
    allowed = bao.answer("GET", "sys/audit", token=bao.token([text])).status_code == 200
    assert acl.compile([parse("ours", text)]).decide("sys/audit", "read", sudo=True).allowed == allowed


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_we_read_is_read_alike(bao: OpenBao, text: str) -> None:
    """Each document that we take gives the same capabilities there, at each of its own paths."""
    policy = parse("ours", text)
    paths = sorted({path for rule in policy.rules for path in (rule.pattern, rule.pattern.rstrip("*") + "x")} | {"x"})
    compiled = acl.compile([policy])
    assert {path: compiled.capabilities(path) for path in paths} == bao.capabilities(bao.token([text]), paths)


@pytest.mark.parametrize("text", REFUSED)
def test_what_neither_reads(bao: OpenBao, text: str) -> None:
    """Each of these is an error there too."""
    assert not bao.accepts("theirs", text)
    with pytest.raises(Malformed):
        parse("ours", text)


@pytest.mark.parametrize("text", STRICTER)
def test_what_we_refuse_though_it_is_taken_there(bao: OpenBao, text: str) -> None:
    """The list of our deviations is complete and true: each is loud here, and silent there."""
    assert bao.accepts("theirs", text)
    with pytest.raises(Malformed):
        parse("ours", text)


def test_the_same_capabilities_are_known(bao: OpenBao) -> None:
    """Every one of ours is taken there; those of the other branch of the family are unknown to both."""
    assert bao.accepts("theirs", dice.hcl([("a", frozenset(map(str, Capability)))]))
    assert not bao.accepts("theirs", dice.hcl([("a", frozenset({"subscribe"}))]))
