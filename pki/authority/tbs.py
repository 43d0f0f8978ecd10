"""What is signed, in DER: TBSCertificate (RFC 5280 4.1.2) and TBSCertList (RFC 5280 5.1.2).

Encoded by cryptography's declarative ASN.1 with parts that were encoded before, which costs a tenth of its builders
and needs no throw-away signature (docs/decisions/0007). What is encoded here is read back and linted before it is
signed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1

from pki.authority.signatures import Scheme

GENERALIZED_FROM = 2050
"""The first year whose dates are GeneralizedTime (RFC 5280 4.1.2.5)."""
_V2, _V3 = 1, 2


@asn1.sequence
class _Extension:
    oid: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(value=False)]
    value: bytes


@asn1.sequence
class _Validity:
    not_before: asn1.UTCTime | asn1.GeneralizedTime
    not_after: asn1.UTCTime | asn1.GeneralizedTime


@asn1.sequence
class _TbsCertificate:
    version: Annotated[int, asn1.Explicit(0)]
    serial: int
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: _Validity
    subject: asn1.TLV
    public_key: asn1.TLV
    extensions: Annotated[list[asn1.TLV], asn1.Explicit(3)]


@asn1.sequence
class _Revoked:
    serial: int
    at: asn1.UTCTime | asn1.GeneralizedTime
    extensions: list[asn1.TLV] | None


@asn1.sequence
class _TbsCertList:
    version: int
    signature: asn1.TLV
    issuer: asn1.TLV
    this_update: asn1.UTCTime | asn1.GeneralizedTime
    next_update: asn1.UTCTime | asn1.GeneralizedTime
    revoked: list[_Revoked] | None
    extensions: Annotated[list[asn1.TLV], asn1.Explicit(0)]


@asn1.sequence
class _Signed:
    body: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString


def _tlv(der: bytes) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, der)


def _time(moment: datetime) -> asn1.UTCTime | asn1.GeneralizedTime:
    """Return UTCTime until 2049 and GeneralizedTime after (RFC 5280 4.1.2.5)."""
    return asn1.UTCTime(moment) if moment.year < GENERALIZED_FROM else asn1.GeneralizedTime(moment)


def encode_extension(value: x509.ExtensionType, *, critical: bool) -> bytes:
    """Return an extension in DER, to be used in many certificates."""
    return asn1.encode_der(_Extension(oid=value.oid, critical=critical, value=value.public_bytes()))


@dataclass(frozen=True, slots=True)
class Draft:
    """A certificate to be: `issuer`, `subject`, `public_key` and `extensions` in DER, times in whole seconds."""

    serial: int
    scheme: Scheme
    issuer: bytes
    not_before: datetime
    not_after: datetime
    subject: bytes
    public_key: bytes
    extensions: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the TBSCertificate in DER."""
        return asn1.encode_der(
            _TbsCertificate(
                version=_V3,
                serial=self.serial,
                signature=_tlv(self.scheme.identifier),
                issuer=_tlv(self.issuer),
                validity=_Validity(not_before=_time(self.not_before), not_after=_time(self.not_after)),
                subject=_tlv(self.subject),
                public_key=_tlv(self.public_key),
                extensions=[_tlv(item) for item in self.extensions],
            )
        )


@dataclass(frozen=True, slots=True)
class RevokedSerial:
    """One line of a CRL; reason 0 (unspecified) stands in no extension (RFC 5280 5.3.1)."""

    serial: int
    at: datetime
    reason: int


_REASONS: dict[int, list[asn1.TLV]] = {
    number: [_tlv(encode_extension(x509.CRLReason(flag), critical=False))]
    for number, flag in {
        1: x509.ReasonFlags.key_compromise,
        2: x509.ReasonFlags.ca_compromise,
        3: x509.ReasonFlags.affiliation_changed,
        4: x509.ReasonFlags.superseded,
        5: x509.ReasonFlags.cessation_of_operation,
        6: x509.ReasonFlags.certificate_hold,
        9: x509.ReasonFlags.privilege_withdrawn,
        10: x509.ReasonFlags.aa_compromise,
    }.items()
}


def encode_crl(
    scheme: Scheme,
    issuer: bytes,
    *,
    this_update: datetime,
    next_update: datetime,
    revoked: Sequence[RevokedSerial],
    extensions: Sequence[bytes],
) -> bytes:
    """Return the TBSCertList in DER; an empty list of revoked certificates is absent (RFC 5280 5.1.2.6)."""
    lines = [
        _Revoked(serial=item.serial, at=_time(item.at), extensions=_REASONS[item.reason] if item.reason else None)
        for item in revoked
    ]
    return asn1.encode_der(
        _TbsCertList(
            version=_V2,
            signature=_tlv(scheme.identifier),
            issuer=_tlv(issuer),
            this_update=_time(this_update),
            next_update=_time(next_update),
            revoked=lines or None,
            extensions=[_tlv(item) for item in extensions],
        )
    )


def assemble(body: bytes, scheme: Scheme, signature: bytes) -> bytes:
    """Return what was signed with its signature: a Certificate or CertificateList in DER."""
    bits = asn1.BitString(data=signature, padding_bits=0)
    return asn1.encode_der(_Signed(body=_tlv(body), algorithm=_tlv(scheme.identifier), signature=bits))
