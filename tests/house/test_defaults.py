"""CA56: what nobody set otherwise is short-lived. Longer is only what a profile, a role or a request says outright."""

import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_ssh_public_identity
from cryptography.hazmat.primitives.serialization.ssh import SSHCertificate

from pki.api.gateway import create_gateway
from pki.authority.profiles import DEFAULT_PROFILE, SERVER_PROFILE
from pki.core import Core
from pki.identity.tokens import DEFAULT_LIFETIME
from pki.ssh.role import DEFAULT_LIFETIMES
from tests.databases import dialect, migrated_url
from tests.house_fixture import core, house_clock, house_config, house_rows, house_token
from tests.pki.api.gateway_client import Answer, Client
from tests.pki.engines.pki_house import csr
from tests.pki.ssh.material import fresh_line
from tests.tokens import token_folder

__all__ = [
    "core",
    "dialect",
    "house_clock",
    "house_config",
    "house_rows",
    "house_token",
    "migrated_url",
    "token_folder",
]

_HOUR, _DAY, _WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
_BACKDATE = timedelta(minutes=1)
"""How far back a certificate of SSH may begin beyond its lifetime, for clocks that are behind."""
_HOST = "db.a.example"
_PEOPLE = {"allow_user_certificates": True, "allowed_users": "deploy"}
_HOSTS = {"allow_host_certificates": True, "allowed_domains": "a.example", "allow_subdomains": True}
_SSH: Mapping[str, tuple[dict[str, Any], str, timedelta]] = MappingProxyType(
    {"user": (_PEOPLE, "deploy", _HOUR), "host": (_HOSTS, _HOST, _WEEK)}
)
"""Of each kind a role without a lifetime, a name that it allows, and the longest life by it."""
_NAMES = {"allowed_domains": "a.example", "allow_subdomains": True}


@pytest.fixture
def client(core: Core) -> Client:
    """Give somebody who may do everything over the API of a house where nothing is set."""
    return Client(create_gateway(core), core.tokens.make("root", ("root",), None))


def _done(answer: Answer) -> Answer:
    assert answer.status in {200, 204}, answer.body
    return answer


def _x509_life(client: Client, role: str, **wishes: str) -> timedelta:
    """Return how long a certificate by that role lives, from its first second to its last."""
    data = _done(client.post(f"pki/sign/{role}", {"csr": csr(_HOST), "common_name": _HOST, **wishes})).data
    certificate = x509.load_pem_x509_certificate(data["certificate"].encode())
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc


def _ssh_life(client: Client, core: Core, role: str, **wishes: str) -> timedelta:
    """Return how long a certificate by that role lives from now on."""
    line = _done(client.post(f"ssh/sign/{role}", {"public_key": fresh_line(), **wishes})).data["signed_key"]
    certificate = load_ssh_public_identity(line.encode())
    assert isinstance(certificate, SSHCertificate)
    now = core.clock.now()
    assert now - _BACKDATE <= datetime.fromtimestamp(certificate.valid_after, UTC) <= now
    return datetime.fromtimestamp(certificate.valid_before, UTC) - now


def test_profiles_that_the_house_makes_are_short() -> None:
    """X.509: a day for others, a week for the house's own TLS certificate, which no door gives to anybody."""
    assert timedelta(seconds=DEFAULT_PROFILE.lifetime) <= _DAY
    assert timedelta(seconds=SERVER_PROFILE.lifetime) <= _WEEK
    assert SERVER_PROFILE.doors == ()


def test_lifetimes_that_rooms_assume_are_short() -> None:
    """SSH: an hour for people, a week for hosts; client tokens: an hour."""
    assert timedelta(seconds=DEFAULT_LIFETIMES["user"]) <= _HOUR
    assert timedelta(seconds=DEFAULT_LIFETIMES["host"]) <= _WEEK
    assert DEFAULT_LIFETIME <= _HOUR


def test_no_profile_of_a_new_house_gives_more_than_a_day(core: Core) -> None:
    """Whatever founding stored for askers, and not only the one that is known here."""
    found = [core.profiles.get(name) for name in core.profiles.names()]
    leaves = [profile for profile in found if profile.kind == "leaf"]
    assert [profile.name for profile in leaves] == [DEFAULT_PROFILE.name]
    assert [profile.name for profile in leaves if timedelta(seconds=profile.lifetime) > _DAY] == []


@pytest.mark.parametrize("wishes", [{}, {"ttl": "90d"}], ids=["no ttl", "a ttl of 90 days"])
def test_new_role_gives_a_day(client: Client, wishes: dict[str, str]) -> None:
    """A role that says nothing of time gives a day at most, whatever is asked of it; and so does the default one."""
    _done(client.post("pki/roles/plain", _NAMES))
    assert _x509_life(client, "plain", **wishes) <= _DAY
    assert _x509_life(client, "default", **wishes) <= _DAY


def test_only_a_role_that_says_so_gives_more_than_a_day(client: Client) -> None:
    """`max_ttl` alone is a bound, and no wish: who does not ask for longer has a day still; `ttl` is what is given."""
    _done(client.post("pki/roles/bounded", {**_NAMES, "max_ttl": "48h"}))
    assert _x509_life(client, "bounded") <= _DAY
    assert _DAY < _x509_life(client, "bounded", ttl="48h") <= 2 * _DAY
    _done(client.post("pki/roles/long", {**_NAMES, "ttl": "72h"}))
    assert 2 * _DAY < _x509_life(client, "long") <= 3 * _DAY


@pytest.mark.parametrize("kind", _SSH)
def test_new_ssh_role_gives_an_hour_or_a_week(client: Client, core: Core, kind: str) -> None:
    """A role that says nothing of time gives an hour to people and a week to hosts, and refuses who asks for more."""
    settings, principal, longest = _SSH[kind]
    wishes = {"cert_type": kind, "valid_principals": principal}
    _done(client.post("ssh/roles/plain", settings))
    assert _ssh_life(client, core, "plain", **wishes) <= longest
    more = f"{int(longest.total_seconds()) + 1}s"
    assert client.post("ssh/sign/plain", {"public_key": fresh_line(), "ttl": more, **wishes}).status == 400
    _done(client.post("ssh/roles/long", {**settings, "ttl": more}))
    assert longest < _ssh_life(client, core, "long", **wishes) <= longest + timedelta(seconds=1)


def test_token_lives_an_hour(client: Client) -> None:
    """A token that is made without a ttl, even by one that never ends, has an hour; with one, what that says."""
    made = _done(client.post("auth/token/create", {"policies": ["default"]})).document["auth"]
    assert 0 < made["lease_duration"] <= _HOUR.total_seconds()
    longer = _done(client.post("auth/token/create", {"policies": ["default"], "ttl": "8h"})).document["auth"]
    assert longer["lease_duration"] == 8 * _HOUR.total_seconds()


def test_logins_give_a_token_of_an_hour(client: Client) -> None:
    """A user and an approle that say nothing of time."""
    _done(client.post("auth/userpass/users/alice", {"password": "correct horse battery staple"}))
    _done(client.post("auth/approle/role/worker", {"token_policies": "default"}))
    role_id = _done(client.get("auth/approle/role/worker/role-id")).data["role_id"]
    secret_id = _done(client.post("auth/approle/role/worker/secret-id", {})).data["secret_id"]
    logins = [
        client.post("auth/userpass/login/alice", {"password": "correct horse battery staple"}),
        client.post("auth/approle/login", {"role_id": role_id, "secret_id": secret_id}),
    ]
    spans = [_done(login).document["auth"]["lease_duration"] for login in logins]
    assert all(0 < span <= _HOUR.total_seconds() for span in spans), spans


def test_openssh_reads_the_hour(client: Client, core: Core, tmp_path: Path) -> None:
    """ssh-keygen, which is not ours, shows an end that is set: no certificate is for ever."""
    _done(client.post("ssh/roles/plain", _PEOPLE))
    body = {"public_key": fresh_line(), "valid_principals": "deploy"}
    file = tmp_path / "id-cert.pub"
    file.write_text(_done(client.post("ssh/sign/plain", body)).data["signed_key"])
    shown = subprocess.run(["ssh-keygen", "-L", "-f", file], capture_output=True, text=True, check=True, timeout=20)
    end = datetime.fromisoformat(shown.stdout.partition("Valid: from ")[2].split()[2]).astimezone(UTC)
    assert core.clock.now() < end <= core.clock.now() + _HOUR
