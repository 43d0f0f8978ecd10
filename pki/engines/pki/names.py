"""The names that a request asks for, in its parameters and in its CSR, and which of them are certified."""

from collections.abc import Iterator

import msgspec
from cryptography import x509

from pki.authority.names import Name, dns_name, name_of
from pki.authority.requests import NAME_LIMIT, CertificateRequest, ip_address, name_in_common_name
from pki.errors import Rejected
from pki.operations.wire import Words


class Naming(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a request that name what is to be certified.

    `common_name` is a DNS name or an address, `alt_names` are DNS names and mailboxes. With `exclude_cn_from_sans` the
    common name is not added to the alternative names, and so must be among them.
    """

    common_name: str = ""
    alt_names: Words = Words()
    ip_sans: Words = Words()
    uri_sans: Words = Words()
    exclude_cn_from_sans: bool = False


def uri_name(value: str) -> Name:
    """Return the name of a URI.

    Raises:
        Rejected: badCSR: it is none in its canonical form.
    """
    try:
        return name_of(x509.UniformResourceIdentifier(value))
    except ValueError:
        raise _refused(f"{value[:100]!a} is no URI in ASCII", "encode it") from None


def certified(asked: Naming, request: CertificateRequest | None) -> tuple[Name, ...]:
    """Return the names to certify, the common name first. A CSR's names are those, where it has any.

    Parameters beside them must name no other: they are never left out unnoticed. Without names in the CSR, or
    without a CSR that counts, the parameters name all.

    Raises:
        Rejected: badCSR: there are none, or those of the parameters are others than the CSR's.
    """
    common = name_in_common_name(asked.common_name.strip()) if asked.common_name.strip() else None
    if len(asked.alt_names) + len(asked.ip_sans) + len(asked.uri_sans) > NAME_LIMIT:
        raise _refused(f"more than {NAME_LIMIT} names are asked for", "ask for several certificates")
    alternative = tuple(dict.fromkeys(_alternative(asked)))
    if asked.exclude_cn_from_sans:
        subject_only = request is not None and request.named_in_subject_only
        if subject_only or (common is not None and common not in alternative):
            advice = "add it to the alternative names, or leave out the common name"
            raise _refused("a common name is always among the alternative names here", advice)
    given = alternative if common is None else (common, *alternative)
    if request is None or not request.names:
        found = given
    else:
        _require_within(given, request)
        first = common or (None if request.common_name is None else name_in_common_name(request.common_name))
        found = request.names if first is None else (first, *request.names)
    if not found:
        raise _refused("no name is asked for", "give a common_name, alt_names, ip_sans or uri_sans")
    return tuple(dict.fromkeys(found))


def _require_within(given: tuple[Name, ...], request: CertificateRequest) -> None:
    others = ", ".join(str(name) for name in given if name not in request.names)
    if others:
        advice = "ask for them in the CSR, or let the role have use_csr_common_name and use_csr_sans false"
        raise _refused(f"the parameters name {others}, which the CSR does not", advice)


def _alternative(asked: Naming) -> Iterator[Name]:
    for value in asked.alt_names:
        yield _mailbox(value) if "@" in value else dns_name(value)
    for value in asked.ip_sans:
        try:
            yield ip_address(value)
        except ValueError:
            raise _refused(f"{value[:100]!a} is not an address", "write it as 10.0.0.1 or fd00::1") from None
    for value in asked.uri_sans:
        yield uri_name(value)


def _mailbox(value: str) -> Name:
    try:
        return name_of(x509.RFC822Name(value))
    except ValueError:
        raise _refused(f"{value[:100]!a} is no plain e-mail address", "write it in ASCII") from None


def _refused(message: str, advice: str) -> Rejected:
    return Rejected(message, "badCSR", advice=advice)
