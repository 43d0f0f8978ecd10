"""Profiles: what each rule allows, tried both ways."""

import pytest

from pki.authority.names import Name
from pki.authority.profiles import DEFAULT_PROFILE, SERVER_PROFILE, Profile, document
from pki.core import Core
from pki.errors import Misconfigured, NotFound, Rejected
from pki.storage.tables import profiles


def _profile(**rules: object) -> Profile:
    return Profile(name="test", issuer="intermediate", lifetime=3600, **rules)  # type: ignore[arg-type]


def _allows(profile: Profile, text: str) -> bool:
    kind, _, value = text.partition(":")
    try:
        profile.check_names([Name(kind, value)])
    except Rejected as error:
        return [item.identifier for item in error.subproblems] != [text]
    return True


@pytest.mark.parametrize(
    ("pattern", "allowed", "refused"),
    [
        ("a.example", ["a.example"], ["b.a.example", "xa.example", "a.example.org", "*.a.example"]),
        ("*.a.example", ["b.a.example", "*.a.example"], ["a.example", "c.b.a.example", "ba.example", "*.b.a.example"]),
        ("**.a.example", ["b.a.example", "c.b.a.example", "*.b.a.example", "*.a.example"], ["a.example", "xa.example"]),
        ("*", ["a.example", "*.example", "localhost"], []),
    ],
)
def test_dns_patterns_match_whole_labels(pattern: str, allowed: list[str], refused: list[str]) -> None:
    """X3: exact, one label, any depth, everything."""
    profile = _profile(dns=(pattern,), wildcards=True)
    assert [name for name in allowed if not _allows(profile, f"dns:{name}")] == []
    assert [name for name in refused if _allows(profile, f"dns:{name}")] == []


def test_wildcards_need_a_rule_of_their_own() -> None:
    """X3: a pattern alone allows no wildcard name."""
    assert not _allows(_profile(dns=("*",)), "dns:*.a.example")
    assert _allows(_profile(dns=("*",), wildcards=True), "dns:*.a.example")


def test_addresses_mailboxes_and_uris_have_their_own_rules() -> None:
    """X2 X3: networks, domains, beginnings."""
    profile = _profile(ip=("10.0.0.0/8", "fd00::/8"), email=("a.example",), uri=("spiffe://a.example/",))
    assert _allows(profile, "ip:10.1.1.1")
    assert _allows(profile, "ip:fd12::1")
    assert not _allows(profile, "ip:11.1.1.1")
    assert _allows(profile, "email:bo@a.example")
    assert not _allows(profile, "email:bo@b.a.example")
    assert _allows(profile, "uri:spiffe://a.example/web")
    assert not _allows(profile, "uri:spiffe://a.example.org/web")


def test_the_common_name_is_one_of_the_names_or_absent() -> None:
    """S4, facts/acme: never an address, never a name too long for it."""
    names = [Name("ip", "10.0.0.1"), Name("dns", "a" * 60 + ".example"), Name("dns", "b.example")]
    assert _profile(subject="common-name").common_name(names) == "b.example"
    assert _profile(subject="common-name").common_name(names[:2]) is None
    assert _profile().common_name(names) is None


def test_a_rule_that_could_never_be_meant_is_refused() -> None:
    """A misspelt rule is an error when it is written, never a rule that silently holds nothing."""
    for rules in ({"ip": ("10.0.0.1/8",)}, {"extended_key_usage": ("serverAuth",)}, {"certificate_policies": ("x",)}):
        with pytest.raises(ValueError, match=r".+"):
            _profile(**rules)


def test_profiles_are_read_by_version(core: Core) -> None:
    """A profile that is written anew takes effect at once; one that cannot be read says so."""
    assert core.profiles.get("default") == DEFAULT_PROFILE
    assert core.profiles.names() == ["default"]
    newer = document(Profile(name="default", version=2, issuer="intermediate", lifetime=60))
    core.database.write(lambda tx: tx.execute(profiles.update().values(version=2, document=newer)))
    assert core.profiles.get("default").lifetime == 60
    core.database.write(lambda tx: tx.execute(profiles.update().values(version=3, document='{"name": "default"}')))
    with pytest.raises(Misconfigured, match="default version 3"):
        core.profiles.get("default")
    with pytest.raises(NotFound):
        core.profiles.get("no such")


def test_our_own_profiles_are_short_lived() -> None:
    """CA56: a day for what ACME issues, a week for the house's own TLS certificate; no door serves the latter."""
    assert DEFAULT_PROFILE.lifetime == 86_400
    assert SERVER_PROFILE.lifetime == 7 * 86_400
    assert SERVER_PROFILE.doors == ()
