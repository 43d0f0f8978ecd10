"""The lines in the README and the how-to pages, run as they stand: only address and folder are this test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.pages import pages
from tests.interop import openssl
from tests.interop.certificates import assert_content, assert_good
from tests.interop.clients import Client, serving
from tests.interop.deadlines import eventually
from tests.interop.standard_ports import STANDARD_PORTS, require_standard_ports
from tests.interop.zone import Zone
from tests.service import Service, free_port

pytestmark = pytest.mark.interop
_SECONDS = 30
_CADDY_PAGE = "docs/how-to/caddy.md"
_CERTBOT_FOLDERS = "config-dir = certbot\nwork-dir = certbot\nlogs-dir = certbot\n"


@pytest.fixture(scope="module")
def documented(zone: Zone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give a service as the pages suppose it: with the standard ports, and names that lead to this machine."""
    require_standard_ports()
    document = {"acme": {"validation": {"resolver": zone.resolver, **STANDARD_PORTS}}}
    with Service(tmp_path_factory.mktemp("documented") / "data", document) as service:
        yield service


@pytest.fixture
def folder(documented: Service, tmp_path: Path) -> Path:
    """Give an empty folder in which `data` is the service's, and certbot stays, too, by a file of the user's."""
    (tmp_path / "data").symlink_to(documented.data)
    settings = tmp_path / ".config" / "letsencrypt" / "cli.ini"
    settings.parent.mkdir(parents=True)
    settings.write_text(_CERTBOT_FOLDERS)
    return tmp_path


def _blocks(path: str, kind: str, service: Service) -> list[str]:
    """Return the code blocks of a page, with the service's address and root in place of the page's."""
    (page,) = [page for page in pages() if page.path == path]
    changes = {"https://127.0.0.1:8443": service.address, "/path/to/data/root.pem": str(service.ca_file)}
    blocks = page.blocks(kind)
    for old, new in changes.items():
        blocks = [block.replace(old, new) for block in blocks]
    return blocks


def _paste(folder: Path, *lines: str) -> str:
    return Client("bash", folder, {}).run("-e", "-c", "\n".join(lines))


@pytest.mark.usefixtures("certbot_program", "lego_program")
def test_readme_obtains_with_certbot_and_lego(documented: Service, folder: Path) -> None:
    """The README's lines end with a certificate for localhost from each client (A02)."""
    for_client = {name: block for block in _blocks("README.md", "sh", documented) for name in _named(block)}
    assert for_client.keys() == {"certbot", "lego"}
    _paste(folder, for_client["certbot"])
    assert_good(folder / "certbot" / "live" / "localhost" / "fullchain.pem", ["localhost"], documented)
    _paste(folder, for_client["lego"])
    assert_good(folder / ".lego" / "certificates" / "localhost.crt", ["localhost"], documented)


def _named(block: str) -> list[str]:
    return [name for name in ("certbot", "lego") if f"{name} " in block]


@pytest.mark.usefixtures("certbot_program")
def test_certbot_page_obtains_renews_and_revokes(documented: Service, folder: Path) -> None:
    """Each line of the page does what the page says (A02, X11)."""
    settings, obtain, renew, revoke = _blocks("docs/how-to/certbot.md", "sh", documented)
    by_account, by_key = revoke.splitlines()
    live, copy = folder / "certbot" / "live" / "host.example", folder / "copy.pem"
    _paste(folder, settings, obtain)
    copy.write_bytes((live / "fullchain.pem").read_bytes())
    assert_good(copy, ["host.example"], documented)
    assert "not yet due" in _paste(folder, settings, renew)
    _paste(folder, settings, by_account)
    openssl.wait_until_revoked(copy, documented.ca_file)
    _paste(folder, settings, obtain, f"cp {live}/cert.pem {live}/privkey.pem .; cp {live}/fullchain.pem copy.pem")
    _paste(folder, settings, by_key)
    openssl.wait_until_revoked(copy, documented.ca_file)


@pytest.mark.usefixtures("lego_program")
def test_lego_page_obtains_renews_and_revokes(documented: Service, folder: Path) -> None:
    """Each line of the page does what the page says (A02, X11)."""
    settings, lines = _blocks("docs/how-to/lego.md", "sh", documented)
    obtain, renew, revoke = lines.splitlines()
    chain = folder / ".lego" / "certificates" / "host.example.crt"
    _paste(folder, settings, obtain)
    first = assert_good(chain, ["host.example"], documented)
    _paste(folder, settings, f"{renew} --no-random-sleep")  # up to eight minutes, without a terminal
    assert assert_good(chain, ["host.example"], documented) != first
    copy = folder / "copy.pem"
    copy.write_bytes(chain.read_bytes())
    _paste(folder, settings, revoke)
    openssl.wait_until_revoked(copy, documented.ca_file)


@pytest.mark.usefixtures("caddy_program")
@pytest.mark.parametrize(
    ("page", "number", "name"),
    [("README.md", 0, "localhost"), (_CADDY_PAGE, 0, "host.example"), (_CADDY_PAGE, 1, "localhost")],
)
def test_documented_caddyfile_is_served(documented: Service, folder: Path, page: str, number: int, name: str) -> None:
    """The page's Caddyfile serves its site with a certificate that openssl accepts (A02)."""
    caddyfile = _blocks(page, "caddyfile", documented)[number]
    # Else Caddy would take its own CA for localhost, and put that into this machine's trust store.
    assert name != "localhost" or "issuer acme" in caddyfile
    (folder / "Caddyfile").write_text(caddyfile)
    (run,) = _blocks(_CADDY_PAGE, "sh", documented)
    log = folder / "caddy.log"
    with serving(["bash", "-c", run], folder, {"CADDY_ADMIN": f"127.0.0.1:{free_port()}"}, log):
        certificate = eventually(lambda: openssl.served(443, name, documented.ca_file), _SECONDS, log.read_text)
    assert_content(certificate, [name])
