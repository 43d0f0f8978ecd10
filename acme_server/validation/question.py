"""The plain case of a look-up: one question for addresses over UDP, written and read by hand.

With dnspython's resolver, two questions were more than half of a validation's CPU. What is read here is only an
answer without a surprise: to this very question, whole, in which every record is the name's own. Anything else, from
an alias to silence, is left to that resolver, which asks again.
"""

import ipaddress
import os
import socket
import struct

import dns.rdataclass
import dns.rdatatype

from acme_server.problems import ProblemType
from acme_server.validation.deadline import Deadline
from acme_server.validation.failure import ValidationFailed
from acme_server.validation.settings import Address

_HEADER = struct.Struct(">2sHHHHH")
"""Number, flags, and how many questions, answers, authorities and additional records there are (RFC 1035 4.1.1)."""
_QUESTION_END = struct.Struct(">HH")
_RECORD = struct.Struct(">HHHIH")
"""A record whose owner is two octets: owner, type, class, time to live, length of the data (RFC 1035 4.1.3)."""
_RECURSION_DESIRED = 0x0100
_RESPONSE = 0x8000
_MATTERS = 0xFA0F
"""Of the flags: response, kind of query, truncated, and the outcome; of a whole answer only the first is set."""
_THE_NAME_ASKED = 0xC000 | _HEADER.size
"""A pointer to the name in the question (RFC 1035 4.1.4)."""
_LENGTHS = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 16}
_LIMIT = 4096


def ask_plainly(
    server: tuple[str, int], name: str, kind: dns.rdatatype.RdataType, seconds: float
) -> list[Address] | None:
    """Return the addresses of `name`, of the kind A or AAAA, which may be none; None where the answer is not plain.

    `name` is a DNS name in its canonical form. The answer is taken from `server` alone, within `seconds`.
    """
    labels = b"".join(bytes([len(label)]) + label for label in name.encode("ascii").split(b"."))
    question = labels + b"\0" + _QUESTION_END.pack(kind, dns.rdataclass.IN)
    number = os.urandom(2)
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as connection:
            connection.connect(server)  # so that nobody else's datagrams are received
            connection.send(_HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0) + question)
            return _read(_await(connection, number, question, Deadline(seconds)), question, kind)
    except (OSError, ValueError, struct.error, ValidationFailed):
        return None


def _await(connection: socket.socket, number: bytes, question: bytes, deadline: Deadline) -> bytes:
    """Return what answers this question; what does not (a forger's guess, an answer too late) is passed over."""
    while True:
        connection.settimeout(deadline.remaining(ProblemType.DNS))
        message = connection.recv(_LIMIT)
        if message[:2] == number and message[_HEADER.size :].startswith(question):
            return message


def _read(message: bytes, question: bytes, kind: dns.rdatatype.RdataType) -> list[Address] | None:
    _, flags, questions, answers, _, _ = _HEADER.unpack_from(message)
    if flags & _MATTERS != _RESPONSE or questions != 1:
        return None
    expected = (_THE_NAME_ASKED, kind, dns.rdataclass.IN, _LENGTHS[kind])
    found: list[Address] = []
    position = _HEADER.size + len(question)
    for _ in range(answers):
        owner, record_kind, record_class, _, length = _RECORD.unpack_from(message, position)
        if (owner, record_kind, record_class, length) != expected:
            return None
        position += _RECORD.size
        found.append(ipaddress.ip_address(message[position : position + length]))
        position += length
    return found
