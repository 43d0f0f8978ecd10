"""Roles of the pki engine: what is set is read back, what has no counterpart is refused, what is refused stays out."""

import fnmatch
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pki.authority.names import Name, dns_name
from pki.authority.profiles import DEFAULT_PROFILE, Profile
from pki.engines.pki.roles import profile_of, role_of
from pki.engines.pki.settings import RoleBody
from pki.errors import Conflict, Malformed, Misconfigured, NotFound, Rejected
from pki.operations.wire import decode
from pki.storage.tables import profiles
from tests.counts import count
from tests.pki.engines.pki_house import NOTHING, WEB, Authority, authority, certificate, csr, data

__all__ = ["authority"]

EVERYTHING: dict[str, Any] = {
    "issuer_ref": "intermediate",
    "ttl": 7200,
    "max_ttl": 172_800,
    "not_before_duration": 30,
    "allowed_domains": ["a.example", "*.b.example"],
    "allow_bare_domains": True,
    "allow_subdomains": True,
    "allow_glob_domains": True,
    "allow_wildcard_certificates": True,
    "allow_any_name": False,
    "allow_localhost": True,
    "allow_ip_sans": True,
    "allowed_ip_sans_cidr": ["10.0.0.0/8", "fd00::/8"],
    "allowed_uri_sans": ["spiffe://a.example/*", "spiffe://b.example/one"],
    "allowed_email_domains": ["a.example"],
    "server_flag": False,
    "client_flag": True,
    "code_signing_flag": False,
    "email_protection_flag": True,
    "ext_key_usage": ["ServerAuth"],
    "ext_key_usage_oids": ["1.3.6.1.5.5.7.3.1"],
    "key_usage": ["DigitalSignature", "KeyEncipherment"],
    "key_type": "rsa",
    "key_bits": 4096,
    "policy_identifiers": ["1.3.6.1.4.1.1.1"],
    "require_cn": True,
    "use_csr_common_name": False,
    "use_csr_sans": False,
    "basic_constraints_valid_for_non_ca": True,
    "cn_validations": ["hostname"],
    "doors": ["acme", "api"],
}


def _profile(**role: Any) -> Profile:
    body = decode(msgspec.json.encode(role), RoleBody)
    return profile_of("web", body, "intermediate", ("api",))


def _allows(profile: Profile, name: Name) -> bool:
    try:
        profile.check_names([name])
    except Rejected:
        return False
    return True


def test_what_was_set_is_read_back(authority: Authority) -> None:
    """CA33: every setting in its own words, and those that cannot be set with the value they have."""
    written = data(authority.role(**EVERYTHING))
    assert {name: written[name] for name in EVERYTHING} == EVERYTHING
    assert authority.read_role() == written
    assert written["version"] == 2
    assert written["no_store"] is False
    assert written["organization"] == []
    assert data(authority.role(**EVERYTHING, name="web")) == written


def test_texts_are_read_as_clients_write_them(authority: Authority) -> None:
    """CA40: lists with commas, spans of time, numbers and flags as texts."""
    texts = {"allowed_domains": "a.example, b.example", "max_ttl": "72h", "allow_subdomains": "true"}
    authority.role(**texts, key_type="rsa", key_bits="2048")
    found = authority.read_role()
    assert found["allowed_domains"] == ["a.example", "b.example"]
    assert found["max_ttl"] == 259_200
    assert found["key_bits"] == 2048


def test_a_role_that_says_nothing_allows_nothing(authority: Authority) -> None:
    """X3: no name, no address, no more than a day; and the answer says that it issues nothing."""
    reply = authority.role("empty")
    assert "issues nothing" in reply.warnings[0]
    for name in ("a.example", "localhost", "10.0.0.1", "spiffe://a.example/x"):
        with pytest.raises(Rejected):
            authority.sign(csr(name), role="empty")
    with pytest.raises(Rejected):
        authority.issue("empty", alt_names="bo@a.example")
    assert authority.role("domains", allowed_domains="a.example").warnings


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("enforce_hostnames", False),
        ("allow_token_displayname", True),
        ("allowed_domains_template", True),
        ("allowed_uri_sans_template", True),
        ("allowed_other_sans", "*"),
        ("allowed_serial_numbers", "*"),
        ("allowed_user_ids", "*"),
        ("country", "CH"),
        ("locality", "x"),
        ("organization", ["x"]),
        ("ou", "x"),
        ("postal_code", "1"),
        ("province", "x"),
        ("street_address", "x"),
        ("generate_lease", True),
        ("no_store", True),
        ("no_store_metadata", True),
        ("not_after", "9999-12-31T23:59:59Z"),
        ("signature_bits", 384),
        ("use_pss", True),
        ("serial_number_source", "other"),
        ("cn_validations", "disabled"),
        ("key_usage", "CertSign"),
        ("key_usage", "KeyEncipherment"),
        ("key_usage", ""),
        ("ext_key_usage", "TimeStamping"),
        ("ext_key_usage", "any"),
        ("ext_key_usage_oids", "2.5.29.37.0"),
        ("key_type", "dsa"),
        (
            "key_type",
            "ec",
        ),
        ("key_bits", 1024),
        ("allowed_domains", "web-*.a.example"),
        ("allowed_domains", "a_b.example"),
        ("allowed_domains", "A b"),
        ("allowed_uri_sans", "spiffe://a.exam*"),
        ("allowed_uri_sans", "spiffe://*/x"),
        ("allowed_uri_sans", "nothing"),
        ("allowed_ip_sans_cidr", "10.0.0.1/8"),
        ("allowed_email_domains", "*"),
        ("policy_identifiers", "cps"),
        ("not_before_duration", "2h"),
        ("ttl", "100h"),
        ("use_csr_sans", False),
        ("doors", "est"),
        ("name", "other"),
    ],
)
def test_what_cannot_be_held_is_refused_by_name(authority: Authority, setting: str, value: object) -> None:
    """A restriction that is stored holds; one that would be ignored is refused, and the error says which."""
    extra: dict[str, object] = {"allow_ip_sans": True, "max_ttl": "48h", "allow_glob_domains": True}
    if (setting, value) == ("key_type", "ec"):
        extra["key_bits"] = 224
    with pytest.raises(Rejected) as caught:
        authority.role("bad", **{**extra, setting: value})
    assert ("key_type" if setting == "key_bits" else setting) in str(caught.value)
    assert caught.value.advice
    with pytest.raises(NotFound):
        authority.read_role("bad")


def test_a_setting_that_nobody_knows_is_refused(authority: Authority) -> None:
    """A misspelt restriction must not look stored."""
    with pytest.raises(Malformed, match="allowed_domain"):
        authority.role("bad", allowed_domain="a.example")


def test_a_role_without_uses_is_refused(authority: Authority) -> None:
    """A certificate without extended key usages is good for everything."""
    with pytest.raises(Rejected, match="good for everything"):
        authority.role("bad", **WEB, server_flag=False, client_flag=False)


def test_a_role_names_an_issuer_that_issues(authority: Authority) -> None:
    """By name, by id or as default; never a root, never one that there is not."""
    intermediate = authority.core.issuers.named("intermediate")
    authority.role(**WEB, issuer_ref=intermediate.id)
    assert certificate(authority.sign(csr("a.example"))).issuer == intermediate.certificate.subject
    assert authority.read_role()["issuer_ref"] == intermediate.id
    with pytest.raises(Rejected, match="is a root"):
        authority.role(**WEB, issuer_ref="root")
    with pytest.raises(NotFound):
        authority.role(**WEB, issuer_ref="elsewhere")


def test_the_profile_that_acme_serves_reads_as_a_role_and_keeps_its_doors(authority: Authority) -> None:
    """A client that knows no doors can't cut a profile off from ACME, nor open it to this API, by writing it."""
    doors = list(DEFAULT_PROFILE.doors)
    found = authority.read_role("default")
    assert found["allow_any_name"] is True
    assert found["allow_ip_sans"] is True
    assert found["max_ttl"] == DEFAULT_PROFILE.lifetime
    assert found["doors"] == doors
    assert data(authority.role("default", allow_any_name=True))["doors"] == doors
    authority.role("default", allow_any_name=True, doors="acme")
    reply = authority.role("default", allow_any_name=True, ttl="1h")
    assert data(reply)["doors"] == ["acme"]
    assert "does not serve this API" in reply.warnings[0]
    authority.role("default", allow_any_name=True, doors="acme,api")
    assert authority.core.profiles.get("default").doors == ("acme", "api")


def test_a_repeated_write_does_no_harm_and_a_stale_one_is_refused(authority: Authority) -> None:
    """A retry after a lost answer gets the same version; check-and-set refuses what follows another version."""
    assert data(authority.role(**WEB))["version"] == 1
    assert data(authority.role(**WEB, ttl="1h", cas=1))["version"] == 2
    assert data(authority.role(**WEB, ttl="1h", cas=1))["version"] == 2
    with pytest.raises(Conflict, match="check-and-set"):
        authority.role(**WEB, ttl="2h", cas=1)
    with pytest.raises(Conflict, match="check-and-set"):
        authority.role("new", **WEB, cas=1)
    assert data(authority.role("new", **WEB, cas=0))["version"] == 1


def test_a_deleted_role_signs_nothing_and_its_versions_are_not_given_again(authority: Authority) -> None:
    """What is remembered of a profile is remembered by name and version: a new one under an old name is newer."""
    before = certificate(authority.sign(csr("a.example")))
    call = authority.caller.call("roles/web")
    assert authority.engine.delete_role(call, NOTHING, role="web") is None
    assert authority.events(call.request_id) == {"pki.act": "alice (accessor1)"}
    with pytest.raises(NotFound):
        authority.sign(csr("a.example"))
    listed = authority.engine.list_roles(authority.caller.call("roles"), NOTHING)
    assert data(listed)["keys"] == ["default"]
    again = authority.caller.call("roles/web")
    authority.engine.delete_role(again, NOTHING, role="web")
    assert authority.events(again.request_id) == {}
    assert data(authority.role(**WEB, server_flag=False, cas=0))["version"] == 3
    after = certificate(authority.sign(csr("a.example")))
    assert [len(list(_usages(found))) for found in (before, after)] == [2, 1]


def _usages(found: Any) -> Any:
    return next(item.value for item in found.extensions if item.oid.dotted_string == "2.5.29.37")


def test_of_writers_at_once_one_makes_the_role(authority: Authority) -> None:
    """A check-and-set write is won by one of many, on both databases."""

    def write(hours: int) -> bool:
        try:
            return bool(authority.role("new", **WEB, ttl=f"{hours}h", cas=0))
        except Conflict:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(1, 9))) == 1
    assert authority.read_role("new")["version"] == 1


def test_a_role_that_cannot_be_read_is_written_anew(authority: Authority) -> None:
    """What another version stored, and this one cannot read, says so; to write it helps."""
    for document in ('{"name": "web"}', '{"name":"web","issuer":"intermediate","lifetime":60,"role":{"new":1}}'):
        values = {"version": 7, "document": document}
        authority.core.database.write(lambda tx, values=values: tx.execute(profiles.update().values(values)))
        with pytest.raises(Misconfigured, match="write it anew"):
            authority.read_role()
        assert data(authority.role(**WEB))["version"] == 8


_JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.text(max_size=5))


@settings(max_examples=count(300, 30_000))
@given(role=st.dictionaries(st.sampled_from(RoleBody.__struct_fields__), _JSON, max_size=6))
def test_any_settings_are_taken_or_refused_with_advice(role: dict[str, Any]) -> None:
    """D1: nothing that a client writes is an error of the server; what is taken is read back the same."""
    with suppress(Malformed, Rejected):
        profile = _profile(**role)
        assert role_of(profile).longest == profile.lifetime


@pytest.mark.parametrize("name", ["", ".", "a b", "é", "x" * 65, "-a", "a-", "a/b", "a\n"])
def test_a_role_has_a_plain_name(authority: Authority, name: str) -> None:
    """It stands in URLs, in file names and in log lines."""
    with pytest.raises(Rejected, match="no name for a profile"):
        authority.role(name, **WEB)


_LABELS = st.lists(st.sampled_from(["a", "b", "www", "x--y".replace("--", "-"), "example"]), min_size=1, max_size=4)
_DOMAINS = _LABELS.map(".".join)
_FLAGS = st.fixed_dictionaries(
    {
        name: st.booleans()
        for name in ("allow_bare_domains", "allow_subdomains", "allow_glob_domains", "allow_wildcard_certificates")
    }
)


def _reference(role: dict[str, Any], name: str) -> bool:
    """Say whether a DNS name is allowed, from the API's documentation and not from our patterns."""
    if name.startswith("*.") and not role["allow_wildcard_certificates"]:
        return False
    for domain in role["allowed_domains"]:
        bare = role["allow_bare_domains"] and name == domain
        below = role["allow_subdomains"] and name.endswith("." + domain)
        if fnmatch.fnmatchcase(name, domain) if "*" in domain else bare or below:
            return True
    return False


@settings(max_examples=count(200, 20_000))
@given(
    flags=_FLAGS,
    domains=st.lists(_DOMAINS | _DOMAINS.map("*.{}".format), max_size=3),
    names=st.lists(_DOMAINS | _DOMAINS.map("*.{}".format), min_size=1, max_size=8),
)
def test_a_role_allows_exactly_what_its_settings_say(
    flags: dict[str, bool], domains: list[str], names: list[str]
) -> None:
    """X3: on random roles and names our patterns and a reference evaluator agree, globs and wildcards included."""
    role = {**flags, "allowed_domains": domains}
    if any("*" in item for item in domains) and not flags["allow_glob_domains"]:
        with pytest.raises(Rejected, match="allow_glob_domains"):
            _profile(**role)
        return
    profile = _profile(**role)
    for name in names:
        assert _allows(profile, dns_name(name)) == _reference(role, name)


def test_uris_addresses_and_mailboxes_are_held_to_their_rules() -> None:
    """X2: whole URIs are whole, beginnings begin behind the host, networks and domains are exact."""
    profile = _profile(**EVERYTHING)
    allowed = [
        "uri:spiffe://a.example/x",
        "uri:spiffe://b.example/one",
        "ip:10.1.2.3",
        "ip:fd00::1",
        "email:bo@a.example",
    ]
    refused = ["uri:spiffe://a.example", "uri:spiffe://b.example/one/more", "uri:spiffe://a.example.evil.example/x"]
    refused += ["ip:11.0.0.1", "ip:fe80::1", "email:bo@x.a.example", "dns:evil.example", "dns:b.example"]
    assert [text for text in allowed if not _allows(profile, Name(*text.split(":", 1)))] == []
    assert [text for text in refused if _allows(profile, Name(*text.split(":", 1)))] == []
    everywhere = _profile(allowed_uri_sans="*", allow_ip_sans=True)
    assert _allows(everywhere, Name("uri", "https://any.example/"))
    assert _allows(everywhere, Name("ip", "192.0.2.1"))
    assert _allows(_profile(allow_localhost=True), dns_name("localhost"))
    assert not _allows(_profile(allow_localhost=True), dns_name("x.localhost"))
