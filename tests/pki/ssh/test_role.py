"""What a role allows, and that everything else is refused (H1-H5)."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.errors import Rejected
from pki.ssh.keys import read_line
from tests.pki.ssh.material import fresh_line, host_role, user_role

_FIVE = (
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
)


@pytest.mark.parametrize(
    "changes",
    [
        {"allowed_users": ()},
        {"allowed_users": ("alice,root",)},
        {"allowed_users": ("alice", "*")},
        {"default_user": "*"},
        {"allowed_users": ("{{identity.name}}",)},
        {"ttl": 3601},
        {"ttl": 0},
        {"max_ttl": 101 * 366 * 86400},
        {"backdate": 3601},
        {"extensions": ("*",)},
        {"extensions": ("permit-everything",)},
        {"extensions": ("login@github.com",)},
        {"default_extensions": {"permit-pty": "yes"}},
        {"default_extensions": {"login@github.com": "a\nb"}},
        {"critical_options": ("no-such",)},
        {"default_critical_options": {"force-command": ""}},
        {"default_critical_options": {"force-command": "id\0"}},
        {"default_critical_options": {"force-command": "x" * 65536}},
        {"default_critical_options": {"source-address": "10.0.0.1/8"}},
        {"default_critical_options": {"source-address": "10.0.0.0/8, 1.2.3.4"}},
        {"default_critical_options": {"verify-required": "yes"}},
        {"key_id_format": "{{identity.name}}"},
        {"key_id_format": "a\nb"},
        {"keys": {"dsa": ()}},
        {"allowed_domains": ("internal.example",)},
    ],
    ids=str,
)
def test_a_user_role_that_could_never_be_meant_is_refused(changes: dict[str, Any]) -> None:
    """H1 H3 H4: a role is refused when it is written, not when somebody needs it."""
    with pytest.raises(Rejected):
        user_role(**changes).check()


@pytest.mark.parametrize(
    "changes",
    [
        {"allowed_domains": ()},
        {"allowed_domains": ("a.example", "*")},
        {"allowed_domains": ("*.example",)},
        {"allowed_domains": ("UPPER.example",)},
        {"subdomains": False},
        {"allowed_users": ("root",)},
        {"default_user": "root"},
        {"extensions": ("permit-pty",)},
        {"default_extensions": {"permit-pty": ""}},
        {"default_critical_options": {"force-command": "id"}},
    ],
    ids=str,
)
def test_a_host_role_that_could_never_be_meant_is_refused(changes: dict[str, Any]) -> None:
    """H1 H5: hosts have domains, and neither login names nor options."""
    with pytest.raises(Rejected):
        host_role(**changes).check()


def test_roles_that_mean_something_are_taken() -> None:
    """Each part of a role by itself is fine."""
    user_role(
        default_user="alice",
        extensions=_FIVE,
        default_extensions={"permit-pty": "", "login@github.com": "alice"},
        critical_options=("force-command", "source-address", "verify-required"),
        default_critical_options={"source-address": "10.0.0.0/8,fd00::/8", "force-command": "/usr/bin/id -u"},
        key_id_format="{{token_display_name}} by {{role_name}}",
        keys={"rsa": (3072, 4096), "ed25519": (), "sk-ed25519": ()},
    ).check()
    host_role(bare_domains=True, allowed_domains=("internal.example", "10.0.0.1", "::1")).check()
    assert user_role(allowed_users=("*",)).allows_anybody
    assert not user_role().allows_anybody


@pytest.mark.parametrize(
    "name",
    [
        "alice,root",
        "alice\nroot",
        "alice root",
        "*",
        "al*ce",
        "?",
        "",
        "-o",
        "#x",
        "!alice",
        "al\0ice",
        "älice",
        "a" * 256,
    ],
)
@pytest.mark.parametrize("allowed", ["*", "the same"])
def test_a_principal_that_could_be_taken_for_another_is_refused(name: str, allowed: str) -> None:
    """H2: even by a role that allows anybody, or names it."""
    role = user_role(allowed_users=("*",) if allowed == "*" else (name,))
    with pytest.raises(Rejected) as caught:
        role.principals((name,))
    assert caught.value.code == "rejectedIdentifier"


@given(st.text(max_size=12))
def test_no_text_with_a_separator_gets_through(name: str) -> None:
    """H2: what gets through is one word of ASCII without anything that sshd splits or matches by."""
    try:
        (given_name,) = user_role(allowed_users=("*",)).principals((name,))
    except Rejected as refusal:
        assert refusal.code == "rejectedIdentifier"  # noqa: PT017 - either way is right
    else:
        assert given_name == name
        assert name.isascii()
        assert not set(name) & set(" ,\n\r\t\0*?!#\"'\\")


def test_there_is_no_certificate_without_principals() -> None:
    """H1: it would be for everybody; a default user is what the role gives to who asks for none."""
    for role in (user_role(), host_role()):
        with pytest.raises(Rejected, match="without principals"):
            role.principals(())
    assert user_role(default_user="guest").principals(()) == ("guest",)


def test_principals_are_those_of_the_role() -> None:
    """H1: exactly, by case, and each once; OpenSSH reads 256 at most (S20)."""
    role = user_role()
    assert role.principals(("deploy", "alice")) == ("deploy", "alice")
    for names in (("root",), ("Alice",), ("alice", "root"), ("alice", "alice"), ("guest",)):
        with pytest.raises(Rejected):
            role.principals(names)
    anybody = user_role(allowed_users=("*",))
    assert len(anybody.principals(tuple(f"u{number}" for number in range(256)))) == 256
    with pytest.raises(Rejected):
        anybody.principals(tuple(f"u{number}" for number in range(257)))


def test_hosts_are_below_the_role_s_domains() -> None:
    """H1: a domain itself only if the role says so, and never one that merely ends like it."""
    below = host_role()
    assert below.principals(("db1.internal.example", "a.b.internal.example")) == (
        "db1.internal.example",
        "a.b.internal.example",
    )
    for name in (
        "internal.example",
        "evilinternal.example",
        "DB1.internal.example",
        "*.internal.example",
        "a..internal.example",
    ):
        with pytest.raises(Rejected):
            below.principals((name,))
    bare = host_role(bare_domains=True, subdomains=False, allowed_domains=("internal.example", "10.0.0.1"))
    assert bare.principals(("internal.example", "10.0.0.1")) == ("internal.example", "10.0.0.1")
    with pytest.raises(Rejected):
        bare.principals(("db1.internal.example",))
    assert host_role(allowed_domains=("*",)).principals(("db1.other.example",)) == ("db1.other.example",)


def test_extensions_outside_the_role_are_refused() -> None:
    """H3: not dropped: who asks for five and may have one is told so."""
    role = user_role(extensions=("permit-pty",), default_extensions={"permit-user-rc": "", "login@github.com": "alice"})
    assert role.granted_extensions({}) == {"permit-user-rc": "", "login@github.com": "alice"}
    assert role.granted_extensions({"permit-pty": ""}) == {"permit-pty": ""}
    assert role.granted_extensions({"login@github.com": "alice"}) == {"login@github.com": "alice"}
    with pytest.raises(Rejected) as caught:
        role.granted_extensions(dict.fromkeys(_FIVE, ""))
    assert caught.value.code == "badExtension"
    assert "permit-port-forwarding" in str(caught.value)
    for asked in ({"permit-pty": "x"}, {"login@github.com": "bob"}, {"no-touch-required": ""}, {"permit-pty\n": ""}):
        with pytest.raises(Rejected):
            role.granted_extensions(asked)


def test_critical_options_of_the_role_cannot_be_left_out_or_changed() -> None:
    """H3: they bind; what is asked for is added, where the role allows it."""
    role = user_role(critical_options=("source-address",), default_critical_options={"force-command": "id"})
    assert role.granted_critical_options({}) == {"force-command": "id"}
    assert role.granted_critical_options({"source-address": "10.0.0.1"}) == {
        "source-address": "10.0.0.1",
        "force-command": "id",
    }
    for asked in (
        {"force-command": "sh"},
        {"force-command": ""},
        {"verify-required": ""},
        {"source-address": ""},
        {"source-address": "everywhere"},
        {"source-address": "10.0.0.1\n"},
    ):
        with pytest.raises(Rejected) as caught:
            role.granted_critical_options(asked)
        assert caught.value.code == "badCriticalOption"


def test_hosts_get_no_options() -> None:
    """H3: no extension and no critical option is defined for hosts (PROTOCOL.certkeys)."""
    with pytest.raises(Rejected):
        host_role().granted_extensions({"permit-pty": ""})
    with pytest.raises(Rejected):
        host_role().granted_critical_options({"force-command": "id"})
    assert host_role().granted_extensions({}) == {}


def test_nobody_gets_more_time_than_the_role_gives() -> None:
    """CA56: more is refused, not cut; nothing asked is the role's own."""
    role = user_role(ttl=600, max_ttl=3600)
    assert role.lifetime(None) == timedelta(minutes=10)
    assert role.lifetime(timedelta(hours=1)) == timedelta(hours=1)
    for asked in (timedelta(seconds=3601), timedelta(milliseconds=400)):
        with pytest.raises(Rejected) as caught:
            role.lifetime(asked)
        assert caught.value.code == "badLifetime"


def test_the_key_id_says_who_and_is_one_line() -> None:
    """H4: what stands in sshd's log cannot be forged, split or made huge by a name."""
    key = read_line(fresh_line())
    who = {"role": "dev", "display_name": "userpass-alice", "key": key}
    assert user_role().key_id("", **who) == f"userpass-alice-dev-{key.sha256.hex()}"
    with pytest.raises(Rejected, match="choose the key id"):
        user_role().key_id("mine", **who)
    role = user_role(allow_key_ids=True)
    assert role.key_id("mine", **who) == "mine"
    for name in ("a\nb", "a\0b", "x" * 65536, 'a" serial 1', "\x1b[2J", "a\u2028b"):
        with pytest.raises(Rejected) as caught:
            role.key_id(name, **who)
        assert caught.value.code == "badKeyId"
        with pytest.raises(Rejected):
            user_role().key_id("", **{**who, "display_name": name})


def test_a_name_that_looks_like_a_place_is_not_filled_in() -> None:
    """H4: places are filled once, from the role's text alone."""
    key = read_line(fresh_line())
    made = user_role(key_id_format="{{token_display_name}}").key_id(
        "", role="dev", display_name="{{role_name}}", key=key
    )
    assert made == "{{role_name}}"


def test_kinds_and_sizes_of_keys_are_those_of_the_role() -> None:
    """H8: a role may take security keys alone."""
    role = user_role(keys={"sk-ed25519": (), "ec": (384,)})
    role.check_key(read_line(fresh_line("sk-ed25519")))
    role.check_key(read_line(fresh_line("p384")))
    for kind in ("ed25519", "p256", "rsa"):
        with pytest.raises(Rejected, match="takes no key of kind"):
            role.check_key(read_line(fresh_line(kind)))
    user_role().check_key(read_line(fresh_line("p521")))
