"""What may stand in an SSH certificate at all, whatever a role says: names, key ids, options (H2-H4).

Principals are compared by sshd with login names and with lines of files, and key ids are written to its log. So each
has its own small alphabet, and what is outside it is refused, not mended.
"""

import ipaddress
import re
from collections.abc import Mapping

from pki.errors import Rejected

EXTENSIONS = frozenset(
    {
        "no-touch-required",
        "permit-X11-forwarding",
        "permit-agent-forwarding",
        "permit-port-forwarding",
        "permit-pty",
        "permit-user-rc",
    }
)
"""The extensions that sshd knows; each is a flag (PROTOCOL.certkeys)."""
CRITICAL_OPTIONS = frozenset({"force-command", "source-address", "verify-required"})
"""The critical options that sshd knows: it refuses a certificate with any other."""
PRINCIPALS_LIMIT = 256
"""OpenSSH reads no more."""

_USER = re.compile(r"[A-Za-z0-9_.+@][A-Za-z0-9_.+@/:=-]{0,254}")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_VENDOR_EXTENSION = re.compile(r"[A-Za-z0-9_.-]{1,64}@[A-Za-z0-9.-]{1,64}")
_KEY_ID_OCTETS = 512
_VALUE_OCTETS = 4096


def check_login_name(name: str) -> None:
    """Refuse what could be taken for another login name, for several, or for a pattern.

    Raises:
        Rejected: rejectedIdentifier.
    """
    if _USER.fullmatch(name) is None:
        raise Rejected(
            f"{name[:64]!a} is not a login name that a certificate may hold",
            "rejectedIdentifier",
            identifier=name,
            advice="it has letters, digits and _ . + @ / : = - alone: no comma, space or wildcard",
        )


def check_host_name(name: str) -> None:
    """Refuse what is neither a host's name, in lower case, nor an IP address.

    Raises:
        Rejected: rejectedIdentifier.
    """
    if _HOST.fullmatch(name) is None and not _is_address(name):
        raise Rejected(
            f"{name[:64]!a} is not a host's name that a certificate may hold",
            "rejectedIdentifier",
            identifier=name,
            advice="give the name as clients type it, in lower case: no comma, space or wildcard",
        )


def _is_address(text: str) -> bool:
    try:
        return str(ipaddress.ip_address(text)) == text
    except ValueError:
        return False


def check_key_id(key_id: str) -> None:
    """Refuse a key id that would not stand in sshd's log as it is, or is not there at all.

    Raises:
        Rejected: badKeyId.
    """
    if not key_id or not key_id.isprintable() or set(key_id) & {'"', "\\"} or len(key_id.encode()) > _KEY_ID_OCTETS:
        raise Rejected(
            f"{key_id[:64]!a} cannot be a certificate's key id",
            "badKeyId",
            advice=f"it is visible text of 1 to {_KEY_ID_OCTETS} octets without quotation mark and backslash",
        )


def check_extensions(extensions: Mapping[str, str]) -> None:
    """Refuse extensions that sshd does not know, unless a vendor's (`login@github.com`), and values of flags.

    Raises:
        Rejected: badExtension.
    """
    for name, value in extensions.items():
        if name in EXTENSIONS and not value:
            continue
        if _VENDOR_EXTENSION.fullmatch(name) and _is_value(value, empty=True):
            continue
        known = ", ".join(sorted(EXTENSIONS))
        raise Rejected(
            f"{name[:64]!a} is not an extension with such a value",
            "badExtension",
            advice=f"flags without a value are {known}; a vendor's extension is name@domain",
        )


def check_critical_options(options: Mapping[str, str]) -> None:
    """Refuse critical options that sshd does not know, and values that it would not understand.

    Raises:
        Rejected: badCriticalOption.
    """
    for name, value in options.items():
        if not _CHECKS.get(name, _is_nothing)(value) or name not in CRITICAL_OPTIONS:
            raise Rejected(
                f"{name[:64]!a} is not a critical option with such a value",
                "badCriticalOption",
                advice="there are force-command (a command), source-address (networks) and verify-required (no value)",
            )


def _is_value(value: str, *, empty: bool = False) -> bool:
    return (empty or bool(value)) and value.isprintable() and len(value.encode()) <= _VALUE_OCTETS


def _is_nothing(value: str) -> bool:
    return not value


def _is_networks(value: str) -> bool:
    """Tell whether it is a list of networks without host bits and blanks: sshd refuses the login for a bad one."""
    if not _is_value(value):
        return False
    try:
        return all(ipaddress.ip_network(item) is not None and item == item.strip() for item in value.split(","))
    except ValueError:
        return False


_CHECKS = {"force-command": _is_value, "source-address": _is_networks, "verify-required": _is_nothing}
