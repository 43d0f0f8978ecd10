"""Connections to addresses that were looked up and checked before, under one deadline."""

import socket
import ssl
from collections.abc import Sequence

from acme_server.problems import ProblemType
from acme_server.validation.deadline import Deadline
from acme_server.validation.failure import ValidationFailed
from acme_server.validation.settings import Address
from pki.storage.guard import outside_write


def connect(host: str, addresses: Sequence[Address], port: int, deadline: Deadline) -> socket.socket:
    """Return a TCP connection to the first address that takes one; each has an equal share of the time left.

    Raises:
        ValidationFailed: connection: none does.
    """
    outside_write("a connection for ACME validation")
    for index, address in enumerate(addresses):
        share = deadline.remaining() / (len(addresses) - index)
        try:
            return socket.create_connection((str(address), port), timeout=share)
        except OSError:
            continue
    tried = ", ".join(map(str, addresses))
    raise ValidationFailed(ProblemType.CONNECTION, f"cannot connect to port {port} of {host} ({tried})")


def start_tls(connection: socket.socket, server_name: str, deadline: Deadline, alpn: str = "") -> ssl.SSLSocket:
    """Return `connection` under TLS 1.2 or 1.3, with `server_name` sent (SNI) and the certificate not verified.

    A challenge proves control of what answers at an address; the certificate that it has so far, if any, does not
    matter (RFC 8555 8.3, RFC 8737 3). The connection is closed with what is returned.

    Raises:
        ValidationFailed: tls: the handshake failed or did not end in time.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols([alpn])
    # With a timeout set, the whole handshake has that long, not each of its reads.
    connection.settimeout(deadline.remaining(ProblemType.TLS))
    try:
        return context.wrap_socket(connection, server_hostname=server_name)
    except TimeoutError:
        raise deadline.passed(ProblemType.TLS) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or "the connection was closed"
        raise ValidationFailed(ProblemType.TLS, f"the TLS handshake with {server_name} failed: {reason}") from None
