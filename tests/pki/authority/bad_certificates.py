"""Certificates that are wrong in one thing each: what the lint gate must refuse.

A function makes each; `@CORPUS.bad` says by which finding our rules refuse it and which others see it when it is
signed: `pkilint` by a finding of its own of error or worse (those it is not asked about left out), `openssl` as
`openssl verify -x509_strict` with the issuer trusted.
"""

from dataclasses import replace

from cryptography import x509

from tests.pki.authority import bad_extensions, bad_fields, bad_names
from tests.pki.authority.certificates import (
    integer,
    leaf,
    oid,
    sequence,
    tlv,
)
from tests.pki.authority.corpus import Bad

CORPUS: tuple[Bad, ...] = (*bad_fields.CORPUS.all, *bad_extensions.CORPUS.all, *bad_names.CORPUS.all)


def unloadable() -> dict[str, bytes]:
    """Return certificates that are not even read back: they never come before the gate."""
    minutes = replace(leaf(), not_before=tlv(0x17, b"2603010000Z"))
    offset = replace(leaf(), not_before=tlv(0x17, b"260301000000+0000"))
    fraction = replace(leaf(), not_before=tlv(0x18, b"20260301000000.5Z"))
    version = replace(leaf(), version=tlv(0xA0, integer(7)))
    parameters = replace(leaf(), algorithm=sequence(oid("1.2.840.10045.4.3.2"), b"\x05\x00"))
    wildcard = leaf(x509.DNSName("*.a.example"), common_name="*.a.example")
    printable = replace(wildcard, subject=wildcard.subject.replace(b"\x0c", b"\x13", 1))
    return {
        "minutes": minutes.preview(),
        "offset": offset.preview(),
        "fraction": fraction.preview(),
        "version": version.preview(),
        "parameters": parameters.preview(),
        "printable": printable.preview(),
        "octets behind": leaf().preview() + b"\0",
    }
