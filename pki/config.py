"""The configuration: frozen dataclasses from one TOML file.

An unknown key is an error that names the nearest known one.
"""

import difflib
import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pki.errors import Misconfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

OWN_ROOT, EXTERNAL_ROOT = "own", "external"
"""Where the root's key is: in this service's own token, or in another one that a ceremony uses."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host (name or address, IPv6 without brackets) and a TCP or UDP port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The TLS listener. `names` are what its own certificate holds; `base_url` is what every ACME URL begins with."""

    listen: Endpoint = Endpoint("127.0.0.1", 8443)
    base_url: str = ""
    names: tuple[str, ...] = ()
    workers: int = 2
    threads: int = 8
    tls_directory: Path = Path("tls")
    tls_1_2: bool = False
    max_body: int = 2 << 20
    body_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """The plain HTTP listener for CRLs and CA certificates; `base_url` stands in certificates."""

    listen: Endpoint = Endpoint("127.0.0.1", 8080)
    base_url: str = ""


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """`url` as SQLAlchemy writes it; credentials come from `url_file` instead when they are in it."""

    url: str = ""
    url_file: Path | None = None


@dataclass(frozen=True, slots=True)
class HsmConfig:
    """The PKCS#11 token. The PIN stands in a 0600 file, never here."""

    module: str = ""
    token_label: str = "sealward"  # noqa: S105 - a name
    pin_file: Path = Path("pin")
    sessions: int = 8
    timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class AuthorityConfig:
    """What `init` makes, and how CRLs are kept."""

    organization: str = "Sealward"
    root: str = OWN_ROOT
    root_algorithm: str = "ec-p384"
    intermediate_algorithm: str = "ec-p256"
    root_days: int = 3650
    intermediate_days: int = 1825
    permitted_dns: tuple[str, ...] = ()
    permitted_ip: tuple[str, ...] = ()
    crl_hours: int = 24
    clock_tolerance: int = 300


@dataclass(frozen=True, slots=True)
class ValidationConfig:
    """How ACME challenges are checked. `allow` opens networks that are closed by default (loopback, link-local)."""

    resolver: Endpoint | None = None
    http01_port: int = 80
    tlsalpn01_port: int = 443
    allow: tuple[Network, ...] = ()
    deadline: float = 15.0


@dataclass(frozen=True, slots=True)
class AcmeConfig:
    """The ACME door."""

    validation: ValidationConfig = field(default_factory=ValidationConfig)
    order_days: int = 7
    terms_of_service: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration of one Sealward."""

    server: ServerConfig = field(default_factory=ServerConfig)
    http: HttpConfig = field(default_factory=HttpConfig)
    database: DatabaseConfig = field(default_factory=DatabaseConfig)
    hsm: HsmConfig = field(default_factory=HsmConfig)
    authority: AuthorityConfig = field(default_factory=AuthorityConfig)
    acme: AcmeConfig = field(default_factory=AcmeConfig)


def parse_endpoint(text: object) -> Endpoint:
    """Read `HOST:PORT` (`[::1]:8443` for IPv6).

    Raises:
        ValueError: it is not of that form.
    """
    if not isinstance(text, str):
        raise ValueError('must be text of the form "HOST:PORT"')
    host, separator, port = text.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and int(port) <= 65535  # noqa: PLR2004 - the highest TCP port
    if not separator or not is_port or not host or not host.isprintable() or " " in host:
        raise ValueError('must be of the form "HOST:PORT"')
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif ":" in host:
        raise ValueError('an IPv6 address stands in brackets: "[::1]:8443"')
    return Endpoint(host, int(port))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of texts")
    return tuple(value)


def _number(low: float, high: float, kind: type[int] | type[float] = int) -> Any:
    def parse(value: object) -> int | float:
        if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
            raise ValueError(f"must be a number from {low} to {high}")
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return kind(value)

    return parse


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _networks(value: object) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in _texts(value))


def _url(value: object) -> str:
    text = _text(value)
    if not text:
        return text
    parts = urlsplit(text)  # which drops line ends, so that the text is looked at too
    is_plain = text.isascii() and text.isprintable() and " " not in text
    if not is_plain or parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ValueError("must be an http or https URL of printable ASCII, without a user")
    if parts.port == 0:
        raise ValueError("must have a port from 1 to 65535, or none")
    return text


def _base_url(value: object) -> str:
    text = _url(value)
    if "?" in text or "#" in text:
        raise ValueError("must be an http or https URL without query or fragment")
    return text.rstrip("/")


def _place_of_root(value: object) -> str:
    if value not in (OWN_ROOT, EXTERNAL_ROOT):
        raise ValueError(f'must be "{OWN_ROOT}" or "{EXTERNAL_ROOT}"')
    return _text(value)


def _path(value: object) -> Path:
    text = _text(value)
    if not text or "\0" in text:
        raise ValueError("must be the path of a file or folder")
    return Path(text)


_PORT = _number(1, 65535)
_KEYS: Mapping[str, Mapping[str, Any]] = {
    "server": {
        "listen": parse_endpoint,
        "base_url": _base_url,
        "names": _texts,
        "workers": _number(1, 64),
        "threads": _number(1, 256),
        "tls_directory": _path,
        "tls_1_2": _flag,
        "max_body": _number(1024, 1 << 26),
        "body_timeout": _number(0.1, 300, float),
    },
    "http": {"listen": parse_endpoint, "base_url": _base_url},
    "database": {"url": _text, "url_file": _path},
    "hsm": {
        "module": _text,
        "token_label": _text,
        "pin_file": _path,
        "sessions": _number(1, 1024),
        "timeout": _number(0.1, 60, float),
    },
    "authority": {
        "organization": _text,
        "root": _place_of_root,
        "root_algorithm": _text,
        "intermediate_algorithm": _text,
        "root_days": _number(1, 36500),
        "intermediate_days": _number(1, 36500),
        "permitted_dns": _texts,
        "permitted_ip": _texts,
        "crl_hours": _number(1, 24 * 30),
        "clock_tolerance": _number(1, 366 * 86400),
    },
    "acme": {"order_days": _number(1, 90), "terms_of_service": _url},
    "acme.validation": {
        "resolver": parse_endpoint,
        "http01_port": _PORT,
        "tlsalpn01_port": _PORT,
        "allow": _networks,
        "deadline": _number(1, 60, float),
    },
}
_TYPES: Mapping[str, Any] = {
    "server": ServerConfig,
    "http": HttpConfig,
    "database": DatabaseConfig,
    "hsm": HsmConfig,
    "authority": AuthorityConfig,
    "acme": AcmeConfig,
    "acme.validation": ValidationConfig,
}


def _unknown(name: str, known: list[str], where: str) -> Misconfigured:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    hint = f'the nearest known one is "{near[0]}"' if near else "remove it"
    return Misconfigured(f'unknown {where} "{name}"', advice=hint)


def _section(name: str, raw: object, base: Path) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise Misconfigured(f"[{name}] must be a table", advice="see docs/reference/configuration.md")
    known = _KEYS[name]
    children = [key.rpartition(".")[2] for key in _KEYS if key.rpartition(".")[0] == name]
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key in children:
            values[key] = _TYPES[f"{name}.{key}"](**_section(f"{name}.{key}", value, base))
            continue
        if key not in known:
            raise _unknown(key, [*known, *children], f"key in [{name}]:")
        try:
            parsed = known[key](value)
        except ValueError as error:
            raise Misconfigured(f"[{name}] {key}: {error}", advice="mend it in the configuration file") from None
        values[key] = base / parsed if isinstance(parsed, Path) else parsed
    defaults = {item.name: item.default for item in fields(_TYPES[name]) if isinstance(item.default, Path)}
    return {**{key: base / path for key, path in defaults.items()}, **values}


def parse(document: Mapping[str, object], base: Path) -> Config:
    """Return the configuration that `document` describes; relative paths in it are taken from `base`.

    Raises:
        Misconfigured: an unknown key or section (the nearest known one is named), or a value out of bounds.
    """
    sections = [name for name in _KEYS if "." not in name]
    values: dict[str, Any] = {}
    for name, raw in {"server": {}, "hsm": {}, **document}.items():  # these two have defaults that are paths
        if name not in sections:
            raise _unknown(name, list(_KEYS), "section")
        values[name] = _TYPES[name](**_section(name, raw, base))
    return Config(**values)


def read_document(path: Path) -> dict[str, Any]:
    """Return the TOML document in `path`.

    Raises:
        Misconfigured: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"cannot read {path}: {error}", advice="name a readable file with --config") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, brackets in brackets
        raise Misconfigured(f"{path} is not TOML: {error}", advice="mend that line") from None


def load(path: Path) -> Config:
    """Return the configuration in the TOML file at `path`; relative paths in it are taken from its folder.

    Raises:
        Misconfigured: as `read_document` and `parse`.
    """
    return parse(read_document(path), path.resolve().parent)
