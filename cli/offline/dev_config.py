"""The configuration of `sealward dev`: its defaults under the user's document."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.offline.data_directory import DataDirectory, can_bind, free_port
from cli.offline.settings import require_module
from hsm import softhsm
from pki import config
from pki.config import Config, Endpoint
from pki.errors import Misconfigured

TOKEN_LABEL = "sealward-dev"  # noqa: S105 - a name
_LISTEN = "127.0.0.1:8443"
_HTTP_LISTEN = "127.0.0.1:0"
_LOOPBACK = ["127.0.0.0/8", "::1/128"]
_STANDARD_PORTS = {"http01_port": 80, "tlsalpn01_port": 443}
"""RFC 8555 8.3 and RFC 8737 3."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for, checked before anything is made. A port 0 means any, the same at each start."""

    document: Document
    base: Path
    listen: Endpoint
    http_listen: Endpoint
    module: str

    @property
    def own_token(self) -> bool:
        """Whether dev makes a SoftHSM token, since the user configured none."""
        return "module" not in self.document.get("hsm", {})


def read_wishes(listen: str | None, file: Path | None) -> Wishes:
    """Return what `file` says, with `listen` before it.

    Raises:
        Misconfigured: the file is wrong, or a listener would be reached from elsewhere.
        HsmMisconfigured: SoftHSM is needed and not installed.
    """
    document = config.read_document(file) if file is not None else {}
    base = file.absolute().parent if file is not None else Path.cwd()
    parsed = config.parse(document, base)
    wishes = Wishes(
        document,
        base,
        _loopback(listen or _configured(document, "server", "listen") or _LISTEN, "--listen"),
        _loopback(_configured(document, "http", "listen") or _HTTP_LISTEN, "[http] listen"),
        parsed.hsm.module or str(softhsm.find_module()),
    )
    require_module(wishes.module)
    return wishes


def configure(data: DataDirectory, wishes: Wishes) -> Config:
    """Return the whole configuration; ports that are chosen here are kept in `data`."""
    listen = _chosen(data, "https", wishes.listen)
    http = _chosen(data, "http", wishes.http_listen)
    defaults: Document = {
        "server": {
            "base_url": f"https://{listen}",
            "names": sorted({"localhost", "127.0.0.1", "::1", listen.host}),
            "tls_directory": str(data.tls),
        },
        "http": {"base_url": f"http://{http}"},
        "database": {"url": f"sqlite:///{data.database}"},
        "acme": {"validation": {"allow": _LOOPBACK, **_validation_ports(data, wishes.document)}},
    }
    if wishes.own_token:
        defaults["hsm"] = {"module": wishes.module, "token_label": TOKEN_LABEL, "pin_file": str(data.pin)}
    chosen = {"server": {"listen": str(listen)}, "http": {"listen": str(http)}}
    return config.parse(merge(merge(defaults, wishes.document), chosen), wishes.base)


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> Document:
    """Return `under` with the values of `over` laid on it, table by table."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _configured(document: Document, section: str, key: str) -> str | None:
    value: str | None = document.get(section, {}).get(key)
    return value


def _loopback(text: str, key: str) -> Endpoint:
    try:
        endpoint = config.parse_endpoint(text)
    except ValueError as error:
        raise Misconfigured(f"{key}: {error}", advice="for example 127.0.0.1:8443") from None
    if not endpoint.is_loopback:
        raise Misconfigured(
            f"dev serves this machine alone, and {endpoint} is reached from elsewhere ({key})",
            advice="use 127.0.0.1 or [::1]; `sealward init` and `sealward serve` make a service for others",
        )
    return endpoint


def _chosen(data: DataDirectory, name: str, wanted: Endpoint) -> Endpoint:
    """Return where to listen; port 0 becomes the port remembered under `name`, at first a free one."""
    if wanted.port != 0:
        return wanted
    return Endpoint(wanted.host, data.remembered_port(name) or _remember(data, name, free_port()))


def _validation_ports(data: DataDirectory, document: Document) -> dict[str, int]:
    """Return the standard ports where this user may listen on them, so that clients need no option; else free ones.

    Once a standard port was chosen it stays, even when it is taken at a later start: by the client that uses it.
    """
    configured = document.get("acme", {}).get("validation", {})
    return {
        name: _validation_port(data, name, standard)
        for name, standard in _STANDARD_PORTS.items()
        if name not in configured
    }


def _validation_port(data: DataDirectory, name: str, standard: int) -> int:
    remembered = data.remembered_port(name)
    if remembered == standard:
        return standard
    if can_bind(standard):
        return _remember(data, name, standard)
    return remembered or _remember(data, name, free_port())


def _remember(data: DataDirectory, name: str, port: int) -> int:
    data.remember_port(name, port)
    return port
