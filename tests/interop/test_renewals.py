"""CA56: what lives shortly is renewed by itself, through several lifetimes, and nobody who comes meanwhile is refused.

The service, certbot, openssl and OpenSSH go by a clock that moves under them. Caddy takes the time from the kernel, so
its certificates live for some seconds, by a role that says so.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.online.people import Person, person_of
from tests.counts import count
from tests.interop import openssl
from tests.interop.clients import Client
from tests.interop.clients import serving as running
from tests.interop.deadlines import eventually
from tests.interop.moved_clock import MovedClock
from tests.interop.sshd import HOST, USER, Sshd, accepted, make_key, running_sshd, sshd_program
from tests.interop.visitors import TlsServer, Visits, serving, visiting
from tests.interop.zone import Zone
from tests.service import Service, free_port

pytestmark = pytest.mark.interop

_SETTLED = 10
"""As many good handshakes in a row with one certificate: no listener is left that shows another."""
_TIMER = timedelta(hours=12)
"""How often the timers of the packages run certbot: twice a day."""
_CERTBOT_TURNS = count(6, 24)
_SSH_TURNS, _SSH_PAUSE = count(4, 40), timedelta(minutes=40)
_CADDY_LIFE = timedelta(seconds=8)
_CADDY_LIVES = count(3, 12)
_HEAD_START = timedelta(days=3)
"""How old the house's own certificate is when the clients begin, so that it falls due while they are at work."""
_BACKDATE = timedelta(minutes=1)
_DUTY_SECONDS = 90
"""The house looks at its certificate once a minute, by a clock that does not move."""
_CADDYFILE = """{{
  http_port {service.http01_port}
  https_port {service.tlsalpn01_port}
  renew_interval 500ms
  renewal_window_ratio 0.5
}}
{name} {{
  tls {{
    issuer acme {{
      dir {service.address}/acme/brief/directory
      trusted_roots "{service.ca_file}"
    }}
  }}
  respond "hello"
}}
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> MovedClock:
    """Give the clock, which begins at the present."""
    return MovedClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def house(clock: MovedClock, zone: Zone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give a service that goes by the clock, with every setting of the defaults'."""
    document = {"acme": {"validation": {"resolver": zone.resolver}}}
    data = tmp_path_factory.mktemp("moved") / "data"
    with Service(data, document, environment=clock.environment) as service:
        yield service
    assert "Traceback" not in service.output, "no jump of the clock may bring about an error of the service's own"


@pytest.fixture(scope="module")
def administrator(clock: MovedClock, house: Service, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Give somebody who may do everything there, and goes by the same clock."""
    person = person_of(house, tmp_path_factory.mktemp("people") / "administrator")
    person.environment |= clock.environment
    person.logs_in(house.ready["token"])
    return person


class Days:
    """Lets time pass for the house, and for those who come to it meanwhile: `guests`, whom nothing may keep out.

    Where a minute of the machine's clock is days of this one, it waits for the house, which looks once a minute.
    """

    def __init__(self, clock: MovedClock, house: Service, guests: Visits) -> None:
        self.clock, self.guests = clock, guests
        self._house = house

    @property
    def certificate(self) -> x509.Certificate:
        """The house's own TLS certificate."""
        return x509.load_pem_x509_certificate((self._house.data / "tls/server.pem").read_bytes())

    def go_on(self, span: timedelta) -> None:
        """Let the span pass, which is half a day at most while the house is to renew."""
        if self.clock.now + span > self.certificate.not_valid_after_utc - _TIMER:
            self.wait_for_successor(self.certificate)
        self.clock.forward(span)

    def wait_for_successor(self, old: x509.Certificate) -> None:
        """Wait until the house has renewed, and every listener shows the new certificate."""
        eventually(lambda: self.certificate != old or None, _DUTY_SECONDS, self._said)
        eventually(lambda: self._is_settled() or None, _DUTY_SECONDS, self._said)

    def _is_settled(self) -> bool:
        return self.guests.shown[-1] == self.certificate and self.guests.streak >= _SETTLED

    def _said(self) -> str:
        return self._house.output


@pytest.fixture(scope="module")
def days(clock: MovedClock, house: Service) -> Iterator[Days]:
    """Give the days of the house, some of which are over."""
    port = int(house.address.rpartition(":")[2])
    with visiting(Visits(port, "localhost", house.ca_file, clock.environment)) as guests:
        clock.forward(_HEAD_START)
        yield Days(clock, house, guests)


class Certbot:
    """certbot with a folder of its own, which obtained a certificate by http-01 and is from then on left to a timer."""

    def __init__(self, program: str, folder: Path, house: Service, clock: MovedClock) -> None:
        environment = {"REQUESTS_CA_BUNDLE": str(house.ca_file), **clock.environment}
        self._client = Client(program, folder, environment)
        self._folders = ("--config-dir", folder, "--work-dir", folder, "--logs-dir", folder / "logs")
        self._house = house
        self.live = folder / "live" / "it"
        self.deployed = folder / "deployed"

    def obtain(self, name: str) -> None:
        """Obtain the first one, as an administrator does once."""
        quiet = ("--non-interactive", "--agree-tos", "--register-unsafely-without-email")
        http01 = ("--standalone", "--http-01-port", str(self._house.http01_port))
        hook = ("--deploy-hook", f"touch '{self.deployed}'")
        server = ("--server", self._house.directory)
        self._client.run("certonly", *self._folders, *quiet, *server, *http01, *hook, "--cert-name", "it", "-d", name)
        self.deployed.touch()

    def timer(self) -> x509.Certificate:
        """Do what the timer of Debian's package does, word for word, and return the certificate that is there then."""
        self._client.run("-q", "renew", "--no-random-sleep-on-renew", *self._folders)
        return x509.load_pem_x509_certificate((self.live / "cert.pem").read_bytes())


def test_certbot_renews_through_many_lifetimes(
    certbot_program: str, house: Service, days: Days, tmp_path: Path
) -> None:
    """CA56: `certbot renew` twice a day keeps a site up on certificates of 24 hours, and too early it does nothing."""
    name = "moved.certbot.example"
    certbot = Certbot(certbot_program, tmp_path, house, days.clock)
    certbot.obtain(name)
    seen = [certbot.timer()]
    server = TlsServer(certbot.live, certbot.deployed)
    visitors = Visits(server.port, name, house.ca_file, days.clock.environment)
    with serving(server), visiting(visitors) as visits:
        for _ in range(_CERTBOT_TURNS):
            days.go_on(_TIMER)
            seen.append(certbot.timer())
    assert (visits.failed, visits.cut) == ([], 0)
    assert visits.good > _CERTBOT_TURNS
    _assert_renewed(seen, _CERTBOT_TURNS, timedelta(hours=24))
    assert visits.shown == seen, "each was served, in its time"
    assert seen[0].not_valid_after_utc < days.clock.now - (_CERTBOT_TURNS - 3) * _TIMER


def _assert_renewed(seen: list[x509.Certificate], times: int, longest: timedelta) -> None:
    """Check that each is another one with another key, made in the life of the one before, and short."""
    assert len({certificate.serial_number for certificate in seen}) == times + 1
    for before, after in pairwise(seen):
        assert before.not_valid_before_utc < after.not_valid_before_utc < before.not_valid_after_utc
        assert before.public_key() != after.public_key()
    assert all(item.not_valid_after_utc - item.not_valid_before_utc <= longest for item in seen)


@pytest.fixture
def ssh_server(administrator: Person, days: Days, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """Give a server of the clock's, whose certificate is by a role for hosts, and which trusts the CA of people.

    The clients that the test starts go by that clock as well.
    """
    days.clock.rule(monkeypatch)
    roles = {
        "people": {"allow_user_certificates": True, "allowed_users": USER},
        "hosts": {"allow_host_certificates": True, "allowed_domains": HOST, "allow_bare_domains": True},
    }
    for role, settings in roles.items():
        administrator.does("ssh", "role", "set", role, "--file", "-", typed=json.dumps(settings))
    folder = tmp_path / "sshd"
    folder.mkdir()
    make_key(folder / "host_key")
    administrator.does("ssh", "sign", "hosts", folder / "host_key.pub", "--host", "--principal", HOST)
    (folder / "user_ca.pub").write_text(administrator.does("ssh", "ca"))
    (folder / "known_hosts").write_text(f"@cert-authority {HOST} {administrator.does('ssh', 'ca', '--host')}")
    program = folder / "moved-sshd"
    shared = " ".join(f"'{name}={value}'" for name, value in days.clock.environment.items())
    program.write_text(f'#!/bin/sh\nexec env {shared} {sshd_program()} "$@"\n')
    program.chmod(0o755)
    with running_sshd(str(program), folder) as server:
        yield server


def test_person_signs_again_through_many_lifetimes(
    administrator: Person, ssh_server: Sshd, days: Days, tmp_path: Path
) -> None:
    """CA56: `sealward ssh sign` at two thirds of the hour lets somebody in at all times; what has ended does not."""
    key, first = tmp_path / "id", tmp_path / "first"
    make_key(key)
    for turn in range(_SSH_TURNS):
        administrator.does("ssh", "sign", "people", f"{key}.pub", "--principal", USER)
        assert ssh_server.login(key).returncode == 0, ssh_server.log
        if turn == 0:
            _copy_credentials(key, first)
        days.go_on(_SSH_PAUSE)
        assert ssh_server.login(key).returncode == 0, ssh_server.log
    serials = [serial for _, serial in accepted(ssh_server.log)]
    assert len(serials) == 2 * _SSH_TURNS
    assert len(set(serials)) == _SSH_TURNS
    assert ssh_server.login(first).returncode == 255
    assert "expired" in ssh_server.log


def _copy_credentials(key: Path, copy: Path) -> None:
    for suffix in ("", ".pub", "-cert.pub"):
        shutil.copy(f"{key}{suffix}", f"{copy}{suffix}")


@pytest.fixture
def brief(service: Service, tmp_path: Path) -> Service:
    """Give the service that goes by the machine's clock, with a role `brief` for ACME, whose certificates end soon."""
    administrator = person_of(service, tmp_path / "administrator")
    administrator.logs_in(service.ready["token"])
    settings = {
        "allow_any_name": True,
        "doors": ["acme"],
        "not_before_duration": "0s",
        "ttl": f"{_CADDY_LIFE.seconds}s",
        "max_ttl": f"{_CADDY_LIFE.seconds}s",
    }
    administrator.does("profile", "set", "brief", "--file", "-", typed=json.dumps(settings))
    return service


@contextlib.contextmanager
def _caddy(program: str, service: Service, name: str, folder: Path) -> Iterator[Path]:
    file, log = folder / "Caddyfile", folder / "caddy.log"
    file.write_text(_CADDYFILE.format(service=service, name=name))
    command = [program, "run", "--config", str(file), "--adapter", "caddyfile"]
    with running(command, folder, {"CADDY_ADMIN": f"127.0.0.1:{free_port()}"}, log):
        yield log


def test_caddy_renews_through_many_lifetimes(caddy_program: str, brief: Service, tmp_path: Path) -> None:
    """CA56: Caddy, left to itself, keeps a site up on certificates that live for seconds."""
    name, port = "brief.caddy.example", brief.tlsalpn01_port
    with _caddy(caddy_program, brief, name, tmp_path) as log:
        first = eventually(lambda: openssl.served(port, name, brief.ca_file), 30, log.read_text)
        assert first.not_valid_after_utc - first.not_valid_before_utc < _CADDY_LIFE
        end = first.not_valid_before_utc + _CADDY_LIVES * _CADDY_LIFE
        with visiting(Visits(port, name, brief.ca_file)) as visits:
            eventually(
                lambda: _served_since(openssl.served(port, name, brief.ca_file), end), 30 * _CADDY_LIVES, log.read_text
            )
    assert (visits.failed, visits.cut) == ([], 0)
    _assert_renewed(visits.shown, len(visits.shown) - 1, _CADDY_LIFE)
    assert len(visits.shown) > _CADDY_LIVES


def _served_since(certificate: x509.Certificate | None, moment: datetime) -> x509.Certificate | None:
    """Return the certificate if it began then or later."""
    return certificate if certificate is not None and certificate.not_valid_before_utc >= moment else None


def test_house_renews_its_own_certificate(administrator: Person, days: Days) -> None:
    """CA56: the service's own TLS certificate is replaced at two thirds of its week, and clients go on meanwhile.

    The guests have come all the while, in the tests before too.
    """
    administrator.does("kv", "put", "secret/app", "--json", "-", typed='{"colour": "green"}')
    first = days.guests.shown[0]
    days.clock.forward_to(_two_thirds(first) + timedelta(minutes=5))
    days.wait_for_successor(first)
    assert administrator.does("kv", "get", "secret/app", "--field", "colour") == "green"
    shown = list(dict.fromkeys(days.guests.shown))  # while listeners are replaced one by one, either is shown
    _assert_renewed(shown, len(shown) - 1, timedelta(days=7))
    assert all(_two_thirds(before) < after.not_valid_before_utc + _BACKDATE for before, after in pairwise(shown))
    assert days.guests.failed == []
    assert days.guests.cut <= len(shown), "those that a listener was greeting when it stopped"


def _two_thirds(certificate: x509.Certificate) -> datetime:
    start = certificate.not_valid_before_utc
    return start + (certificate.not_valid_after_utc - start) * 2 / 3
