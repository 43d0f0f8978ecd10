"""The configuration file: every key is read, and what is wrong with one is said in a line that names it."""

import contextlib
import dataclasses
import ipaddress
import re
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki import config as module
from pki.config import Config, Endpoint, load, parse, parse_endpoint, read_document
from pki.errors import Misconfigured

BASE = Path("/etc/sealward")
EVERYTHING = """
[server]
listen = "[::]:443"
base_url = "https://ca.corp.example/"
names = ["ca.corp.example", "10.0.0.1"]
workers = 4
threads = 16
tls_directory = "keys/tls"
tls_1_2 = true
max_body = 65536
body_timeout = 3

[http]
listen = "0.0.0.0:80"
base_url = "http://ca.corp.example"

[database]
url = "postgresql+psycopg://sealward@db.example/sealward"
url_file = "url"

[hsm]
module = "/usr/lib/softhsm/libsofthsm2.so"
token_label = "house"
pin_file = "/run/secrets/pin"
sessions = 16
timeout = 2.5

[authority]
organization = "Example Corp"
root = "external"
root_algorithm = "rsa-4096"
intermediate_algorithm = "ed25519"
root_days = 7300
intermediate_days = 365
permitted_dns = ["corp.example"]
permitted_ip = ["10.0.0.0/8"]
crl_hours = 12
clock_tolerance = 60

[acme]
order_days = 3
terms_of_service = "https://corp.example/terms/?version=2#all"

[acme.validation]
resolver = "[fd00::53]:5353"
http01_port = 8080
tlsalpn01_port = 8443
allow = ["127.0.0.0/8", "::1/128"]
deadline = 5.5
"""
BOUNDS = [
    ("server", "workers", 1, 64),
    ("server", "threads", 1, 256),
    ("server", "max_body", 1024, 1 << 26),
    ("server", "body_timeout", 0.1, 300),
    ("hsm", "sessions", 1, 1024),
    ("hsm", "timeout", 0.1, 60),
    ("authority", "root_days", 1, 36500),
    ("authority", "intermediate_days", 1, 36500),
    ("authority", "crl_hours", 1, 720),
    ("authority", "clock_tolerance", 1, 366 * 86400),
    ("acme", "order_days", 1, 90),
    ("acme.validation", "http01_port", 1, 65535),
    ("acme.validation", "tlsalpn01_port", 1, 65535),
    ("acme.validation", "deadline", 1, 60),
]


def _document(section: str, key: str, value: object) -> dict[str, Any]:
    document: dict[str, Any] = {key: value}
    for name in reversed(section.split(".")):
        document = {name: document}
    return document


def _value(config: Config, section: str, key: str) -> Any:
    found: Any = config
    for name in (*section.split("."), key):
        found = getattr(found, name)
    return found


def _refusal(document: dict[str, object]) -> str:
    with pytest.raises(Misconfigured) as caught:
        parse(document, BASE)
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.advice
    return text


def _keys(kind: Any = Config, section: str = "") -> list[tuple[str, str]]:
    """Return section and key of all that the dataclasses hold."""
    found = []
    for name, hint in typing.get_type_hints(kind).items():
        below = f"{section}.{name}" if section else name
        found += _keys(hint, below) if dataclasses.is_dataclass(hint) and hint is not Endpoint else [(section, name)]
    return found


def test_every_key_is_read(tmp_path: Path) -> None:
    """The example above sets all keys that there are, each to another value than its default."""
    (tmp_path / "sealward.toml").write_text(EVERYTHING)
    config, default = load(tmp_path / "sealward.toml"), parse({}, tmp_path)
    assert len(_keys()) == sum(map(len, module._KEYS.values()))
    for section, key in _keys():
        assert _value(config, section, key) != _value(default, section, key), (section, key)
    assert config.server.listen == Endpoint("::", 443)
    assert config.server.base_url == "https://ca.corp.example"
    assert config.server.body_timeout == 3.0
    assert config.acme.validation.allow == (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
    assert config.acme.validation.resolver == Endpoint("fd00::53", 5353)
    assert config.authority.permitted_dns == ("corp.example",)


def test_a_url_that_is_only_shown_stays_as_it_is() -> None:
    """The terms of service may have a slash at the end, a query and a fragment."""
    url = "https://corp.example/terms/?version=2#all"
    assert parse(_document("acme", "terms_of_service", url), BASE).acme.terms_of_service == url


def test_without_a_key_its_default_holds() -> None:
    """An empty file, and empty sections, are the dataclasses' own defaults, paths apart."""
    sections: dict[str, object] = {"server": {}, "http": {}, "database": {}, "hsm": {}, "authority": {}}
    for document in ({}, {**sections, "acme": {"validation": {}}}):
        config = parse(document, BASE)
        assert config.http == Config().http
        assert config.authority == Config().authority
        assert config.acme == Config().acme
        assert config.server.tls_directory == BASE / "tls"
        assert config.hsm.pin_file == BASE / "pin"
        assert config.database.url_file is None


@pytest.mark.parametrize(
    ("section", "key"), [("server", "base_url"), ("http", "base_url"), ("acme", "terms_of_service")]
)
def test_an_empty_url_is_none(section: str, key: str) -> None:
    """The default may be written out, as the reference writes it."""
    assert _value(parse(_document(section, key, ""), BASE), section, key) == ""


def test_relative_paths_begin_in_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the command is run; absolute ones stay."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "sealward.toml").write_text(EVERYTHING)
    monkeypatch.chdir(tmp_path)
    for name in (Path("etc/sealward.toml"), folder / "sealward.toml", Path("etc/../etc/sealward.toml")):
        config = load(name)
        assert config.server.tls_directory.resolve() == folder / "keys" / "tls"
        assert config.database.url_file is not None
        assert config.database.url_file.resolve() == folder / "url"
        assert config.hsm.pin_file == Path("/run/secrets/pin")


def test_a_link_to_the_file_counts_as_where_the_file_is(tmp_path: Path) -> None:
    """Paths are taken from the folder of the file itself."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "sealward.toml").write_text('[hsm]\npin_file = "secret"\n')
    (tmp_path / "link.toml").symlink_to(tmp_path / "real" / "sealward.toml")
    assert load(tmp_path / "link.toml").hsm.pin_file == tmp_path / "real" / "secret"


@pytest.mark.parametrize(("section", "key", "low", "high"), BOUNDS)
def test_numbers_have_bounds(section: str, key: str, low: float, high: float) -> None:
    """Both ends are inside; what is beyond is named with them, and so is what is no number."""
    is_whole = isinstance(low, int) and key != "deadline"
    for bound in (low, high):
        assert _value(parse(_document(section, key, bound), BASE), section, key) == bound
    beyond: list[object] = [low - 1, high + 1, 10**30, -(10**30), float("nan"), float("inf"), float("-inf")]
    wrong: list[object] = ["1", True, False, [1], {"a": 1}, *([float(high)] if is_whole else [])]
    for value in (*beyond, *wrong):
        text = _refusal(_document(section, key, value))
        assert f"[{section}] {key}: " in text
        assert f"from {low} to {high}" in text


TEXTS = ["hsm module", "hsm token_label", "hsm pin_file", "database url", "database url_file", "server tls_directory"]
TEXTS += ["server base_url", "server listen", "http listen", "acme.validation resolver", "authority organization"]
TEXTS += ["authority root", "authority root_algorithm", "authority intermediate_algorithm", "acme terms_of_service"]
LISTS = ["server names", "authority permitted_dns", "authority permitted_ip", "acme.validation allow"]


@pytest.mark.parametrize("place", TEXTS)
def test_a_text_is_a_text(place: str) -> None:
    """Numbers, lists, tables and dates are not taken for one."""
    section, key = place.split()
    values: list[object] = [1, 1.5, True, ["a"], {"a": "b"}, [], {}]
    for value in values:
        assert f"[{section}] {key}: must be" in _refusal(_document(section, key, value))


@pytest.mark.parametrize("place", LISTS)
def test_a_list_is_a_list_of_texts(place: str) -> None:
    """A lone text is not taken for a list of its letters."""
    section, key = place.split()
    for value in ("10.0.0.0/8", 1, True, [1], ["a", 2], [["a"]], {"a": "b"}):
        assert f"[{section}] {key}: must be a list of texts" in _refusal(_document(section, key, value))


def test_a_flag_is_true_or_false() -> None:
    """Neither 1 nor "yes" is."""
    values: list[object] = [1, 0, "true", "yes", [], {}]
    for value in values:
        assert "[server] tls_1_2: must be true or false" in _refusal(_document("server", "tls_1_2", value))


@pytest.mark.parametrize(
    ("document", "name", "nearest"),
    [
        ({"servre": {}}, "servre", "server"),
        ({"validation": {}}, "validation", "acme.validation"),
        ({"x": 1}, "x", ""),
        ({"": {}}, "", ""),
        ({"server": {"lisen": "a:1"}}, "lisen", "listen"),
        ({"server": {"Listen": "a:1"}}, "Listen", "listen"),
        ({"server": {"bodytimeout": 1}}, "bodytimeout", "body_timeout"),
        ({"hsm": {"pin": "1234"}}, "pin", "pin_file"),
        ({"database": {"password": "geheim"}}, "password", ""),
        ({"acme": {"validaton": {}}}, "validaton", "validation"),
        ({"acme": {"validation": {"http_port": 1}}}, "http_port", "http01_port"),
    ],
)
def test_an_unknown_name_brings_the_nearest(document: dict[str, object], name: str, nearest: str) -> None:
    """A misspelt key is never ignored, and its value, which may be a secret, is not shown."""
    text = _refusal(document)
    assert f'"{name}"' in text
    assert re.search(f'the nearest known one is "{nearest}', text)
    assert "geheim" not in text
    assert "1234" not in text


@pytest.mark.parametrize("value", [1, "text", [], [{}], True])
def test_a_section_is_a_table(value: object) -> None:
    """`server = 1`, and `[[server]]`, are named."""
    assert "[server] must be a table" in _refusal({"server": value})
    assert "[acme.validation] must be a table" in _refusal({"acme": {"validation": value}})


ENDPOINTS = [
    ("127.0.0.1:8443", Endpoint("127.0.0.1", 8443)),
    ("[::1]:8443", Endpoint("::1", 8443)),
    ("[0:0:0:0:0:0:0:1]:1", Endpoint("::1", 1)),
    ("[fe80::1%eth0]:53", Endpoint("fe80::1%eth0", 53)),
    ("localhost:0", Endpoint("localhost", 0)),
    ("ca.corp.example:65535", Endpoint("ca.corp.example", 65535)),
]


@pytest.mark.parametrize(("text", "endpoint"), ENDPOINTS)
def test_endpoints_are_read_and_written(text: str, endpoint: Endpoint) -> None:
    """IPv6 stands in brackets, and what is written reads back as itself."""
    assert parse_endpoint(text) == endpoint
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text",
    ["", ":", "host", "host:", ":443", "host:65536", "host:-1", "host:+1", "host: 1", "host:a", "host:1.0", "::1:443",
     "::1", "[::1]", "[::1]443", "[]:1", "[127.0.0.1]:1", "[host]:1", "[::g]:1", "https://host:1", "host:1/", "a b:1",
     "host:\N{SUPERSCRIPT TWO}", "host:\N{ARABIC-INDIC DIGIT THREE}", "host\0:1", "host\n:1"],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    """The form that is wanted is in the message."""
    with pytest.raises(ValueError, match=r"."):
        parse_endpoint(text)
    assert "[http] listen: " in _refusal(_document("http", "listen", text))


@given(st.text())
def test_any_text_is_an_endpoint_or_a_value_error(text: str) -> None:
    """Never another exception, and what is accepted reads back as itself."""
    endpoint = None
    with contextlib.suppress(ValueError):
        endpoint = parse_endpoint(text)
    assert endpoint is None or parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(("host", "is_loopback"), [
    ("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("10.255.0.1", False), ("::", False),
    ("10.0.0.1", False), ("ca.example", False), ("localhost.example", False),
])  # fmt: skip
def test_loopback_is_what_this_machine_alone_reaches(host: str, is_loopback: bool) -> None:
    """The addresses of every interface are not."""
    assert Endpoint(host, 1).is_loopback == is_loopback


@pytest.mark.parametrize(
    "url",
    ["ca.example", "ftp://ca.example", "https://", "https:///path", "https://:8443", "https://ca.example?x", "https://a#",
     "https://ca.example/?x=1", "https://ca.example:99999", "https://ca.example:0", "https://ca.example:x",
     "https://[::1", "https://user:geheim@ca.example", "https://user@ca.example", "https://ca.example/a b",
     "https://ca\n.example", "https://ca.example\t", "https://c\N{LATIN SMALL LETTER A WITH ACUTE}.example", " https://a"],
)  # fmt: skip
def test_what_is_no_base_url_is_refused(url: str) -> None:
    """It stands in every ACME URL and in certificates; a password in it is not shown."""
    for section in ("server", "http"):
        text = _refusal(_document(section, "base_url", url))
        assert f"[{section}] base_url: " in text
        assert "geheim" not in text


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "corp.example", "", "10.0.0", "::1/129"])
def test_what_is_no_network_is_refused(network: str) -> None:
    """Host bits are refused too: what is meant is not clear."""
    assert "[acme.validation] allow: " in _refusal(_document("acme.validation", "allow", [network]))


def test_a_place_of_the_root_is_one_of_two() -> None:
    """The message names both."""
    text = _refusal(_document("authority", "root", "elsewhere"))
    assert '"own"' in text
    assert '"external"' in text


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    """Neither nothing nor a NUL is one."""
    assert "[hsm] pin_file: must be the path" in _refusal(_document("hsm", "pin_file", path))


@pytest.mark.parametrize(
    "content",
    [b"[server", b"a = ", b"a = 1\na = 2", b"[a]\n[a]", b"a = 2026-13-40", b"a = " + b"9" * 5000, b"\x00",
     b"a = " + b"[" * 100_000, b"{}", b"<xml/>"],
)  # fmt: skip
def test_what_is_not_toml_says_so(tmp_path: Path, content: bytes) -> None:
    """One line with the file's name, whatever the file holds."""
    path = tmp_path / "sealward.toml"
    path.write_bytes(content)
    with pytest.raises(Misconfigured, match="is not TOML") as caught:
        read_document(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    """No file, a folder, a broken link, or octets that are no text: one line that names it, and --config."""
    (tmp_path / "octets").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "missing.toml", tmp_path, tmp_path / "octets", tmp_path / "link"):
        with pytest.raises(Misconfigured, match=r"cannot read .*--config") as caught:
            load(path)
        assert str(path) in str(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(_keys())), VALUES)
def test_any_value_of_any_key_is_read_or_refused_in_one_line(place: tuple[str, str], value: object) -> None:
    """D4 for operators: nothing but Misconfigured, which names the key."""
    refusal = ""
    try:
        parse(_document(*place, value), BASE)
    except Misconfigured as error:
        refusal = str(error)
    assert not refusal or f"[{place[0]}] {place[1]}: " in refusal
    assert "\n" not in refusal
