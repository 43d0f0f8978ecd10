"""A certificate as the rules look at it: its fields as they stand in DER, and its extensions read."""

import functools
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_VERSION, _EXTENSIONS = 0xA0, 0xA3
_UNIQUE_IDS = frozenset({0x81, 0x82, 0xA1, 0xA2})
_LONG_FORM = 0x80
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


class Element(NamedTuple):
    """One DER element: its tag, its content, and the whole of it with tag and length."""

    tag: int
    content: bytes
    whole: bytes


def split(content: bytes) -> list[Element]:
    """Split a constructed element's content into its elements, which have tags of one octet.

    The library has read the certificate before, strictly, so the lengths are known to be right.
    """
    found, at = [], 0
    while at < len(content):
        start, length = at + 2, content[at + 1]
        if length >= _LONG_FORM:
            start += length - _LONG_FORM
            length = int.from_bytes(content[at + 2 : start])
        end = start + length
        found.append(Element(content[at], content[start:end], content[at:end]))
        at = end
    return found


class Attribute(NamedTuple):
    """One attribute of a name: OID (content octets), tag of the value, value."""

    oid: bytes
    tag: int
    value: bytes


class Extension(NamedTuple):
    """One extension; `whole` is its DER."""

    critical: bool
    value: x509.ExtensionType
    whole: bytes


@dataclass(frozen=True)
class View:
    """The fields of a certificate (RFC 5280 4.1), each in DER; `extensions` by OID, in their order.

    `version` is empty where the field is absent; `outer_algorithm` is the one beside the signature.
    """

    certificate: x509.Certificate
    version: bytes
    serial: bytes
    algorithm: bytes
    outer_algorithm: bytes
    issuer: bytes
    not_before: Element
    not_after: Element
    subject: Element
    public_key_info: list[Element]
    has_unique_ids: bool
    extensions: dict[x509.ObjectIdentifier, Extension]

    @classmethod
    def of(cls, certificate: x509.Certificate) -> "View":
        """Read a certificate.

        Raises:
            ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType: an extension stands twice,
                or cannot be read.
        """
        (whole,) = split(certificate.public_bytes(Encoding.DER))
        body, outer_algorithm, _signature = split(whole.content)
        fields = split(body.content)
        version = fields.pop(0).content if fields[0].tag == _VERSION else b""
        serial, algorithm, issuer, validity, subject, key_info, *rest = fields
        not_before, not_after = split(validity.content)
        raw = [item for outer in rest if outer.tag == _EXTENSIONS for item in split(split(outer.content)[0].content)]
        return cls(
            certificate=certificate,
            version=version,
            serial=serial.content,
            algorithm=algorithm.whole,
            outer_algorithm=outer_algorithm.whole,
            issuer=issuer.whole,
            not_before=not_before,
            not_after=not_after,
            subject=subject,
            public_key_info=split(key_info.content),
            has_unique_ids=any(outer.tag in _UNIQUE_IDS for outer in rest),
            extensions={
                read.oid: Extension(read.critical, read.value, item.whole)
                for read, item in zip(certificate.extensions, raw, strict=True)
            },
        )

    @functools.cached_property
    def subject_attributes(self) -> tuple[tuple[Attribute, ...], ...]:
        """The subject's relative distinguished names, and the attributes of each."""
        return tuple(
            tuple(_attribute(item) for item in split(relative.content)) for relative in split(self.subject.content)
        )

    @functools.cached_property
    def is_ca(self) -> bool:
        """Whether basicConstraints makes it a CA."""
        found = self.find(x509.BasicConstraints)
        return found is not None and found.ca

    def find(self, kind: type[_Kind]) -> _Kind | None:
        """Return the value of the extension of that class, if any."""
        found = self.extensions.get(kind.oid)
        # Not isinstance: these classes are abstract ones, which answer it slowly, and none has a subclass.
        return found.value if found is not None and type(found.value) is kind else None


def _attribute(element: Element) -> Attribute:
    oid, value = split(element.content)
    return Attribute(oid.content, value.tag, value.content)
