"""The gate itself: own rules on every certificate, pkilint on the first of each shape."""

import functools
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from pki.authority.lint import constraints, extensions, fields, names
from pki.authority.lint.pkix import Pkix
from pki.authority.lint.view import View
from pki.errors import LintFailed

_BY_VALUE = frozenset({ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.SUBJECT_KEY_IDENTIFIER})
_UNREADABLE = (ValueError, TypeError, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm)


class Linter:
    """Refuses certificates that break a standard or the house's own rules, before they are signed.

    One serves all threads of a process. It remembers the last `remembered` shapes that pkilint found in order.
    """

    def __init__(self, *, remembered: int = 1024) -> None:
        self._remembered = remembered
        self._pkix = Pkix()
        self._lock = threading.Lock()
        self._conforming: OrderedDict[Hashable, None] = OrderedDict()
        self._issuer = functools.lru_cache(maxsize=64)(View.of)

    def check(self, certificate: x509.Certificate, issuer: x509.Certificate | None, *, shape: Hashable = None) -> None:
        """Check a certificate that is about to be signed; its signature's value is not looked at.

        `issuer` is None for a self-signed root. With a `shape`, which says what kind of certificate it is (profile,
        version, issuer), pkilint is not asked again about a certificate that has the same shape and is the same octet
        by octet, but for what own rules check each time: serial, dates, key, its identifier, and the values of names.

        Raises:
            LintFailed: with all that was found; it must not be signed.
        """
        try:
            view = View.of(certificate)
            above = view if issuer is None else self._issuer(issuer)
            found = list(_own_findings(view, above))
        except x509.DuplicateExtension as error:
            raise LintFailed([f"extension-duplicate: {error.oid.dotted_string} stands twice (RFC 5280 4.2)"]) from None
        except _UNREADABLE:
            raise LintFailed(["unreadable: a field or an extension does not follow its syntax (RFC 5280 A)"]) from None
        if not found:
            found = self._ask_pkilint(view, shape)
        if found:
            raise LintFailed(found)

    def _ask_pkilint(self, view: View, shape: Hashable) -> list[str]:
        key = None if shape is None else (shape, _form(view))
        if key is not None and self._is_conforming(key):
            return []
        found = self._pkix.findings(view.certificate.public_bytes(Encoding.DER))
        # What failed is not remembered: the next of its shape is looked at for itself.
        if key is not None and not found:
            self._remember(key)
        return found

    def _is_conforming(self, key: Hashable) -> bool:
        with self._lock:
            if key not in self._conforming:
                return False
            self._conforming.move_to_end(key)
            return True

    def _remember(self, key: Hashable) -> None:
        with self._lock:
            self._conforming[key] = None
            if len(self._conforming) > self._remembered:
                self._conforming.popitem(last=False)


def _own_findings(view: View, issuer: View) -> Iterator[str]:
    yield from fields.check_fields(view, issuer)
    yield from fields.check_validity(view, issuer)
    yield from extensions.check_places(view)
    yield from extensions.check_kind(view, issuer)
    yield from extensions.check_key_identifiers(view, issuer)
    yield from extensions.check_extended_usage(view)
    yield from extensions.check_revocation(view)
    yield from names.check_names(view)
    yield from constraints.check_own_constraints(view)
    yield from constraints.check_constraints(view, issuer)


def _form(view: View) -> Hashable:
    """Return the octets of a certificate, but for those values that own rules check in every one."""
    common_name = None if view.is_ca else names.COMMON_NAME
    return (
        view.algorithm,
        view.issuer,
        view.not_before.tag,
        view.not_after.tag,
        tuple(
            tuple((item.oid, item.tag, b"" if item.oid == common_name else item.value) for item in relative)
            for relative in view.subject_attributes
        ),
        view.public_key_info[0].whole,
        tuple((oid, item.critical) if oid in _BY_VALUE else item.whole for oid, item in view.extensions.items()),
        frozenset(type(item) for item in view.find(x509.SubjectAlternativeName) or ()),
    )
