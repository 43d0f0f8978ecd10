"""Names looked up for a validation, once, under its deadline; every address is checked before it is returned."""

import ipaddress
import queue
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
import dns.rrset

from acme_server.problems import ProblemType
from acme_server.validation.addresses import why_closed
from acme_server.validation.deadline import Deadline
from acme_server.validation.failure import ValidationFailed
from acme_server.validation.question import ask_plainly
from acme_server.validation.settings import Address, ValidationSettings
from pki.storage.guard import outside_write

_HOSTS = Path("/etc/hosts")
_CNAME_LIMIT = 8
_PER_FAMILY = 2
_UDP_PAYLOAD = 1232
_PLAIN_SECONDS = 1.0
"""How long the answer to a plain question is waited for, before all that a resolver knows is tried."""


def _failed(detail: str) -> ValidationFailed:
    return ValidationFailed(ProblemType.DNS, detail)


def _resolver(settings: ValidationSettings) -> dns.resolver.Resolver:
    if settings.resolver is None:
        resolver = dns.resolver.Resolver()
    else:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = [settings.resolver[0]], settings.resolver[1]
    resolver.use_edns(0, 0, _UDP_PAYLOAD)
    return resolver


def _lookup(
    resolver: dns.resolver.Resolver, name: dns.name.Name, kind: dns.rdatatype.RdataType, seconds: float
) -> dns.rrset.RRset | None:
    """Return the records of `name`, or None when it has none of that kind; a CNAME left open is followed."""
    deadline = Deadline(seconds)
    for _ in range(_CNAME_LIMIT):
        answer = resolver.resolve(
            name, kind, search=False, raise_on_no_answer=False, lifetime=deadline.remaining(ProblemType.DNS)
        )
        if answer.rrset is not None or answer.canonical_name == name:
            return answer.rrset
        name = answer.canonical_name
    raise _failed(f"the name leads through more than {_CNAME_LIMIT} CNAME records")


def _query(
    settings: ValidationSettings, name: str, kind: dns.rdatatype.RdataType, seconds: float
) -> dns.rrset.RRset | None:
    """Return the records of `name`, or None. What the resolver answers is not repeated: it may be an inner one.

    Raises:
        ValidationFailed: dns: no such name, no answer in time, or an error such as a bogus signature (SERVFAIL).
    """
    text = dns.rdatatype.to_text(kind)
    try:
        return _lookup(_resolver(settings), dns.name.from_text(name), kind, seconds)
    except dns.resolver.NXDOMAIN:
        raise _failed(f"there is no such name as {name} (NXDOMAIN)") from None
    except dns.exception.Timeout:
        raise _failed(f"the look-up of {name} ({text}) was not answered in time") from None
    except (dns.exception.DNSException, OSError, ValueError):
        raise _failed(f"the look-up of {name} ({text}) failed: SERVFAIL, another error, or no answer at all") from None


def _ask(
    settings: ValidationSettings, server: tuple[str, int], name: str, kind: dns.rdatatype.RdataType, seconds: float
) -> list[Address]:
    """Return the addresses of that kind; errors as `_query`."""
    deadline = Deadline(seconds)
    found = ask_plainly(server, name, kind, min(_PLAIN_SECONDS, seconds / 2))
    if found is None:
        records = _query(settings, name, kind, deadline.remaining(ProblemType.DNS))
        found = [ipaddress.ip_address(record.address) for record in records or ()]
    return found


def _ask_dns(name: str, settings: ValidationSettings, server: tuple[str, int], deadline: Deadline) -> list[Address]:
    found: list[Address] = []
    failures: list[ValidationFailed] = []
    # A resolver that drops AAAA questions must not use up the time of the A question.
    for kind, share in ((dns.rdatatype.AAAA, 0.5), (dns.rdatatype.A, 1.0)):
        try:
            found += _ask(settings, server, name, kind, deadline.remaining(ProblemType.DNS) * share)
        except ValidationFailed as failure:
            failures.append(failure)
    if not found and failures:
        raise failures[-1]
    return found


def hosts_file_addresses(text: str, name: str) -> list[Address]:
    """Return the addresses that a hosts file gives `name`."""
    found: list[Address] = []
    for line in text.splitlines():
        words = line.partition("#")[0].lower().split()
        if name in words[1:]:
            try:
                found.append(ipaddress.ip_address(words[0]))
            except ValueError:
                continue
    return found


def _read_hosts() -> str:
    try:
        return _HOSTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _ask_system(name: str, deadline: Deadline) -> list[Address]:
    """Ask the machine's resolver, in a thread, since it can't be told when to give up.

    The dot at the end makes the name absolute: completed from a search list, it would be another host's. The hosts
    file, in which names have no such dot, is therefore read first.
    """
    found = hosts_file_addresses(_read_hosts(), name)
    if found:
        return found
    answers: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            records = socket.getaddrinfo(f"{name}.", None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            records = []
        answers.put([str(record[4][0]) for record in records])

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        texts = answers.get(timeout=deadline.remaining(ProblemType.DNS))
    except queue.Empty:
        raise _failed(f"the look-up of {name} was not answered in time") from None
    return [ipaddress.ip_address(text) for text in texts]


def _open_ones(host: str, found: Sequence[Address], settings: ValidationSettings) -> list[Address]:
    reasons = {address: why_closed(address, settings.allow) for address in found}
    kept = [address for address, why in reasons.items() if why is None]
    if not kept:
        refused = ", ".join(f"{address} is {why}" for address, why in list(reasons.items())[: 2 * _PER_FAMILY])
        raise ValidationFailed(ProblemType.CONNECTION, f"{host} has no address that may be connected to: {refused}")
    six = [address for address in kept if address.version == 6][:_PER_FAMILY]  # noqa: PLR2004 - IPv6
    four = [address for address in kept if address.version == 4][:_PER_FAMILY]  # noqa: PLR2004 - IPv4
    return six + four if kept[0].version == 6 else four + six  # noqa: PLR2004 - IPv6


def resolve_addresses(host: str, settings: ValidationSettings, deadline: Deadline) -> list[Address]:
    """Return some addresses of `host`, a name or itself an address, that may be connected to, in order of preference.

    The caller connects to exactly these, so that a second look-up can't lead elsewhere (DNS rebinding).

    Raises:
        ValidationFailed: dns: there is none; connection: there is, but all are closed.
    """
    outside_write("a look-up for ACME validation")
    try:
        return _open_ones(host, [ipaddress.ip_address(host)], settings)
    except ValueError:
        pass
    server = settings.resolver
    found = _ask_system(host, deadline) if server is None else _ask_dns(host, settings, server, deadline)
    if not found:
        raise _failed(f"{host} has no address (A or AAAA)")
    return _open_ones(host, found, settings)


def resolve_texts(name: str, settings: ValidationSettings, deadline: Deadline) -> list[bytes]:
    """Return the texts of the TXT records of `name`, each joined from its strings; none is an empty list.

    Raises:
        ValidationFailed: dns: the name does not exist or can't be looked up.
    """
    outside_write("a look-up for ACME validation")
    records = _query(settings, name, dns.rdatatype.TXT, deadline.remaining(ProblemType.DNS))
    return [b"".join(record.strings) for record in records or ()]
