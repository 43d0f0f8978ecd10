"""Which rule decides, and what the verdict tells of it."""

import pytest

from pki.policy import acl
from pki.policy.acl import Acl, Source
from pki.policy.document import ROOT, Capability, parse

_READ = frozenset({Capability.READ})


def _acl(*documents: str) -> Acl:
    return acl.compile([parse(f"p{number}", text) for number, text in enumerate(documents)])


def _gives(**patterns: str) -> str:
    return "\n".join(f'path "{at}" {{ capabilities = ["{given}"] }}' for at, given in patterns.items())


def _decides(path: str, *patterns: str) -> str | None:
    rule = _acl(_gives(**dict.fromkeys(patterns, "read"))).decide(path, "read").rule
    return None if rule is None else rule.pattern


@pytest.mark.parametrize(
    ("path", "pattern", "others"),
    [
        ("a/b", "a/b", ["a/+", "a/*", "+/b", "*"]),
        ("a/b", "a/b*", ["a/*", "*", "+/b"]),
        ("a/b/c", "a/b/*", ["a/+/c", "a/b*", "a/*"]),
        ("a/b/c", "a/+/c", ["+/b/c", "a/+/+", "a/*"]),
        ("a/b/c", "a/b/+", ["a/b/*", "a/+/c"]),
        ("a/b/c", "a/*", ["a/+/*"]),
        ("a/b/c", "+/b/+", ["+/+/+", "+/+/*", "+/*"]),
        ("a/bc/d", "+/bc*", ["+/b*", "+/*"]),
        ("a/b/c", "+/b/*", ["+/+/c*"]),
        ("a/b/c", "*", ["+/b/*"]),
    ],
)
def test_the_most_specific_pattern_decides(path: str, pattern: str, others: list[str]) -> None:
    """The order of the Vault API: later first wildcard, no `*` at the end, fewer `+`, longer, lexicographic."""
    assert _decides(path, pattern, *others) == pattern
    assert _decides(path, *reversed(others), pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("a/b", ["a/b"], ["a", "a/b/", "a/b/c", "a/bc", "A/b"]),
        ("a/*", ["a/", "a/b", "a/b/c"], ["a", "ab", "b/a/"]),
        ("a*", ["a", "ab", "a/b"], ["b", ""]),
        ("+", ["a", "b", ""], ["a/", "a/b"]),
        ("a/+/c", ["a/b/c", "a//c"], ["a/c", "a/b/c/", "a/b/b/c"]),
        ("+/a*", ["x/a", "x/ab/c"], ["x/b", "a", "x/y/a"]),
        ("*", ["", "a", "a/b/"], []),
        ("c++", ["c++"], ["cxx", "c+"]),
    ],
)
def test_a_pattern_matches_what_it_says(pattern: str, matching: list[str], others: list[str]) -> None:
    """`*` is any ending, `+` one segment, everything else itself."""
    assert [path for path in [*matching, *others] if _decides(path, pattern)] == matching


def test_policies_add_up_for_one_pattern_and_not_beyond_it() -> None:
    """DESIGN decision 4: capabilities are the union over the policies that hold the deciding pattern, and no more."""
    compiled = _acl(_gives(**{"a/*": "read", "*": "sudo"}), _gives(**{"a/*": "list"}), _gives(**{"/a/*": "update"}))
    assert compiled.capabilities("a/b") == ("list", "read", "update")
    verdict = compiled.decide("a/b", "sudo")
    assert (verdict.allowed, verdict.missing, verdict.policies) == (False, (Capability.SUDO,), ("p0", "p1", "p2"))


def test_a_deny_in_one_policy_refuses_for_all() -> None:
    """Whatever the others give for the same pattern, and in whichever order."""
    for documents in (("read", "deny"), ("deny", "read")):
        compiled = _acl(*(_gives(a=given) for given in documents))
        verdict = compiled.decide("a", "read")
        assert not verdict.allowed
        assert verdict.rule is not None
        assert verdict.rule.denied_by == (f"p{documents.index('deny')}",)
        assert compiled.capabilities("a") == ("deny",)


def test_a_more_specific_rule_escapes_a_wider_deny() -> None:
    """As existing policies expect: one pattern decides alone."""
    compiled = _acl(_gives(**{"a/*": "deny", "a/b": "read"}))
    assert compiled.decide("a/b", "read").allowed
    assert not compiled.decide("a/c", "read").allowed


def test_listing_is_held_by_a_deny_of_the_folder() -> None:
    """P3: the deny of what is in a folder holds the listing of the folder, asked with or without its slash."""
    compiled = _acl('path "s/*" { capabilities = ["list", "scan", "read"] }', _gives(**{"s/r/*": "deny"}))
    for path in ("s/r", "s/r/", "s/r/x", "s/r/x/"):
        assert not compiled.decide(path, "list").allowed
        assert not compiled.decide(path, "scan").allowed
    assert compiled.decide("s", "list").allowed
    assert compiled.decide("s/q", "list").allowed
    assert compiled.decide("s/r", "read").allowed, "the rule speaks of what is in the folder"


def test_a_rule_without_the_slash_gives_listing_and_nothing_else_of_the_folder() -> None:
    """`secret/app` lists `secret/app/`; to read `secret/app/` is another path."""
    compiled = _acl('path "a" { capabilities = ["list", "read"] }')
    assert compiled.decide("a/", "list").allowed
    assert compiled.decide("a", "list").allowed
    assert not compiled.decide("a/", "read").allowed


def test_sudo_is_asked_of_the_same_rule() -> None:
    """A wider rule's sudo does not add up with a narrower one's verb."""
    compiled = _acl('path "sys/*" { capabilities = ["read", "sudo"] } path "sys/audit" { capabilities = ["read"] }')
    verdict = compiled.decide("sys/audit", "read", sudo=True)
    assert (verdict.allowed, verdict.missing) == (False, (Capability.SUDO,))
    assert compiled.decide("sys/auth", "read", sudo=True).allowed
    assert compiled.decide("x", "read", sudo=True).missing == (Capability.READ, Capability.SUDO)


def test_the_root_policy_allows_everything() -> None:
    """Also what another policy of the set denies."""
    compiled = acl.compile([parse("p", _gives(**{"*": "deny"})), ROOT])
    assert compiled.decide("sys/audit", "read", sudo=True).allowed
    assert compiled.decide("", "list").policies == ("root",)
    assert compiled.capabilities("anything/") == ("root",)


def test_no_policies_allow_nothing() -> None:
    """A rule that is absent gives nothing."""
    verdict = acl.compile([]).decide("a", "read")
    assert (verdict.allowed, verdict.rule, verdict.policies, verdict.missing) == (False, None, (), (Capability.READ,))
    assert acl.compile([]).capabilities("a") == ("deny",)


def test_a_rule_that_gives_nothing_decides_all_the_same() -> None:
    """An empty list of capabilities hides the wider rule."""
    compiled = _acl('path "a" {} path "*" { capabilities = ["read"] }')
    assert compiled.capabilities("a") == ("deny",)
    assert compiled.decide("a", "read").why() == "path 'a' of policy p0 gives nothing, not read"


def test_a_verdict_tells_its_reason() -> None:
    """The trace: pattern, policies, what they give, and what was missing."""
    compiled = _acl(_gives(**{"a/*": "read"}), _gives(**{"a/*": "list", "b": "deny"}))
    assert compiled.decide("a/b", "update").why() == "path 'a/*' of policy p0, p1 gives list, read, not update"
    assert compiled.decide("a/b", "read").why() == "path 'a/*' of policy p0, p1 gives list, read"
    assert compiled.decide("b", "read").why() == "path 'b' is denied by policy p1"
    assert compiled.decide("c", "read").why() == "no rule matches the path; read would be needed"
    rule = compiled.decide("a/b", "update").rule
    assert rule is not None
    assert rule.sources == (Source("p0", _READ), Source("p1", frozenset({Capability.LIST})))


@pytest.mark.parametrize("asked", ["deny", "root", "", "READ", "get"])
def test_what_is_no_capability_cannot_be_asked_for(asked: str) -> None:
    """A caller that asks for it has a bug, and learns so, also under the root policy."""
    for compiled in (_acl(), _acl(_gives(a="read")), acl.compile([ROOT])):
        with pytest.raises(ValueError, match="no capability to ask for"):
            compiled.decide("a", asked)
