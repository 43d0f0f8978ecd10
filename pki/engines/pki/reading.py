"""Operations that read: certificates, lists of them, issuers, CRLs. What is open to all is public by nature."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki.authority.issuers import Issuer
from pki.engines.pki import answers, listing
from pki.engines.pki.answers import CERTIFICATE_TYPE, CHAIN_TYPE, CRL_TYPE, PEM_TYPE, colons, pem, serial_of
from pki.engines.pki.rooms import OverRooms
from pki.errors import NotFound
from pki.ledger import entries
from pki.ledger.entries import Entry
from pki.operations.call import Call, Reply, keys, when
from pki.operations.declare import NoBody, Verb, operation


class Reading(OverRooms):
    """Reads what was issued, and by whom."""

    @operation(Verb.LIST, "certs")
    def list_certificates(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002 - every operation takes a body
        """List the serial numbers of all certificates, the newest first."""
        wanted = listing.serials(call.mount.namespace_id, call.query)
        with self._rooms.database.read() as tx:
            found = [colons(serial) for serial in entries.serials(tx, wanted)]
        return _paged(keys(found), len(found), wanted.limit)

    @operation(Verb.LIST, "certs/detailed")
    def list_certificates_detailed(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """List certificates with what is known of each, the newest first, by filters in the query."""
        wanted = listing.detailed(call.mount.namespace_id, call.query, self._rooms.clock.now())
        with self._rooms.database.read() as tx:
            found = [answers.detailed(entry) for entry in entries.page(tx, wanted)]
        serials = [item["serial_number"] for item in found]
        return _paged(keys(serials, dict(zip(serials, found, strict=True))), len(found), wanted.limit)

    @operation(Verb.READ, "certs/detailed/<name:serial>")
    def read_certificate_detailed(self, call: Call, body: NoBody, serial: str) -> Reply:  # noqa: ARG002
        """Read what is known of a certificate: its state, role, requester and names, and the certificate itself."""
        entry = self._find(call, serial_of(serial))
        if entry is None:
            raise _unknown()
        known = {} if entry.certificate is None else {"certificate": pem(entry.certificate)}
        return Reply(
            answers.detailed(entry) | {"id": entry.id, "signature_algorithm": entry.signature_algorithm} | known
        )

    @operation(Verb.READ, "cert/<name:serial>", open=True)
    def read_certificate(self, call: Call, body: NoBody, serial: str) -> Reply:  # noqa: ARG002
        """Read a certificate by its serial number."""
        entry = self._existing(call, serial)
        return Reply(answers.public(entry, self._path(self._rooms.issuers.get(entry.issuer_id))))

    @operation(Verb.READ, "cert/<name:serial>/raw", open=True)
    def read_certificate_raw(self, call: Call, body: NoBody, serial: str) -> Reply:  # noqa: ARG002
        """Read a certificate in DER."""
        return Reply(raw=(CERTIFICATE_TYPE, answers.signed(self._existing(call, serial))))

    @operation(Verb.READ, "cert/<name:serial>/raw/pem", open=True)
    def read_certificate_raw_pem(self, call: Call, body: NoBody, serial: str) -> Reply:  # noqa: ARG002
        """Read a certificate in PEM."""
        return Reply(raw=(CHAIN_TYPE, _text(answers.signed(self._existing(call, serial)))))

    @operation(Verb.READ, "cert/ca", open=True)
    def read_ca_enveloped(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Read the default issuer's certificate."""
        return Reply({"certificate": pem(_der(self._issuer("").certificate)), **_NOT_REVOKED})

    @operation(Verb.READ, "cert/ca_chain", open=True)
    def read_ca_chain_enveloped(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Read the default issuer's certificate and those above it."""
        chain = "\n".join(pem(_der(item)) for item in self._path(self._issuer("")))
        return Reply({"certificate": chain, "ca_chain": chain, **_NOT_REVOKED})

    @operation(Verb.READ, "cert/crl", open=True)
    def read_crl_enveloped(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Read the default issuer's CRL."""
        crl = pem(self._rooms.crls.latest(self._issuer("")), "X509 CRL")
        return Reply({"certificate": crl, **_NOT_REVOKED})

    @operation(Verb.READ, "ca", open=True)
    def read_ca(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Read the default issuer's certificate in DER."""
        return Reply(raw=(CERTIFICATE_TYPE, _der(self._issuer("").certificate)))

    @operation(Verb.READ, "ca/pem", open=True)
    def read_ca_pem(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Read the default issuer's certificate in PEM."""
        return Reply(raw=(CHAIN_TYPE, _text(_der(self._issuer("").certificate))))

    @operation(Verb.READ, "ca_chain", open=True)
    def read_ca_chain(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Read the default issuer's certificate and those above it in PEM."""
        return Reply(raw=(CHAIN_TYPE, b"".join(_text(_der(item)) for item in self._path(self._issuer("")))))

    @operation(Verb.READ, "crl", open=True)
    def read_crl(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Read the default issuer's CRL in DER."""
        return Reply(raw=(CRL_TYPE, self._rooms.crls.latest(self._issuer(""))))

    @operation(Verb.READ, "crl/pem", open=True)
    def read_crl_pem(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Read the default issuer's CRL in PEM."""
        return Reply(raw=(PEM_TYPE, _text(self._rooms.crls.latest(self._issuer("")), "X509 CRL")))

    @operation(Verb.LIST, "issuers", open=True)
    def list_issuers(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """List the issuers by their ids."""
        found = {item.id: self._outline(item) for item in self._rooms.issuers.active()}
        return keys(list(found), found)

    @operation(Verb.READ, "issuer/<name:reference>")
    def read_issuer(self, call: Call, body: NoBody, reference: str) -> Reply:  # noqa: ARG002
        """Read an issuer, by its name, its id, or as `default`."""
        issuer = self._issuer(reference)
        certificate = issuer.certificate
        return Reply(
            {
                "issuer_id": issuer.id,
                **self._outline(issuer),
                "certificate": pem(_der(certificate)),
                "ca_chain": [pem(_der(item)) for item in self._path(issuer)],
                "not_before": when(certificate.not_valid_before_utc),
                "not_after": when(certificate.not_valid_after_utc),
                "leaf_not_after_behavior": "truncate",
            }
        )

    @operation(Verb.READ, "issuer/<name:reference>/der", open=True)
    def read_issuer_der(self, call: Call, body: NoBody, reference: str) -> Reply:  # noqa: ARG002
        """Read an issuer's certificate in DER."""
        return Reply(raw=(CERTIFICATE_TYPE, _der(self._issuer(reference).certificate)))

    @operation(Verb.READ, "issuer/<name:reference>/pem", open=True)
    def read_issuer_pem(self, call: Call, body: NoBody, reference: str) -> Reply:  # noqa: ARG002
        """Read an issuer's certificate in PEM."""
        return Reply(raw=(CHAIN_TYPE, _text(_der(self._issuer(reference).certificate))))

    def _outline(self, issuer: Issuer) -> dict[str, object]:
        return {
            "issuer_name": issuer.name,
            "is_default": issuer.id == self._issuer("").id,
            "key_id": issuer.key_id.hex(),
            "kind": issuer.kind,
            "serial_number": colons(answers.serial_hex(issuer.certificate)),
            "subject": issuer.certificate.subject.rfc4514_string(),
        }

    def _existing(self, call: Call, serial: str) -> Entry:
        found = self._find_existing(call, serial_of(serial))
        if found is None:
            raise _unknown()
        return found


_NOT_REVOKED = {"revocation_time": 0, "revocation_time_rfc3339": ""}


def _unknown() -> NotFound:
    return NotFound("there is no certificate with this serial number")


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _text(der: bytes, label: str = "CERTIFICATE") -> bytes:
    return f"{pem(der, label)}\n".encode()


def _paged(reply: Reply, count: int, limit: int) -> Reply:
    """Say so where a list may go on: nobody takes its first page for all of it."""
    if count < limit or reply.data is None:
        return reply
    last = reply.data["keys"][-1]
    return Reply(reply.data, warnings=[f"these are the first {count}: go on with the query limit={limit}&after={last}"])
