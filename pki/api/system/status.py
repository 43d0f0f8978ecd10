"""How the service is: health, seal, initialisation, leader, metrics (docs/decisions/0013 has the table of answers)."""

from http import HTTPStatus
from typing import Any

from pki.api.metrics import CONTENT_TYPE
from pki.api.system.family import Family, bare
from pki.clock import to_ms
from pki.errors import Malformed, Rejected
from pki.operations.call import Call, Reply
from pki.operations.declare import NoBody, Verb, operation

_LOWEST, _HIGHEST = 100, 599


class Status(Family):
    """Tells how the service is."""

    @operation(Verb.READ, "health", open=True)
    def health(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002 - every operation takes a body
        """Tell whether the service is initialised and unsealed, by its status too.

        200: it serves; 503: it is sealed (the query's `sealedcode` stands instead, if given), or its database does
        not answer. The other codes that may be given are never used: there is no standby, and what was never
        initialised does not listen.
        """
        sealed_code = _code(call, "sealedcode", HTTPStatus.SERVICE_UNAVAILABLE)
        active_code = _code(call, "activecode", HTTPStatus.OK)
        is_sealed = self._rooms.readiness.is_sealed()
        status = sealed_code if is_sealed else active_code
        if not self._rooms.readiness.has_database():
            status = HTTPStatus.SERVICE_UNAVAILABLE
        document = {
            "initialized": True,
            "sealed": is_sealed,
            "standby": False,
            "performance_standby": False,
            "replication_performance_mode": "disabled",
            "replication_dr_mode": "disabled",
            "server_time_utc": to_ms(self._rooms.clock.now()) // 1000,
            "version": self._rooms.version,
            "enterprise": False,
            "cluster_name": "sealward",
            "cluster_id": self._rooms.cluster_id,
        }
        return bare(document, status)

    @operation(Verb.READ, "seal-status", open=True)
    def seal_status(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Tell whether the service is sealed: whether its HSM can open what is stored."""
        return bare(self._seal_status())

    @operation(Verb.UPDATE, "unseal", open=True)
    def unseal(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Tell whether the service is sealed; no key share is needed, nor looked at, since the HSM unseals."""
        return bare(self._seal_status())

    @operation(Verb.UPDATE, "seal", sudo=True)
    def seal(self, call: Call, body: NoBody) -> None:  # noqa: ARG002
        """Refuse: a seal that other processes and the ACME door do not know of would be none."""
        raise Rejected(
            "sealing over the API is not supported",
            "unsupported",
            advice="stop the service, or take its HSM away: either ends every use of its keys",
        )

    @operation(Verb.READ, "init", open=True)
    def is_initialised(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Tell that the service is initialised: one that is not does not listen."""
        return bare({"initialized": True})

    @operation(Verb.UPDATE, "init", open=True)
    def initialise(self, call: Call, body: NoBody) -> None:  # noqa: ARG002
        """Refuse: initialising makes keys in the HSM, which needs its PIN and no network."""
        raise Rejected(
            "it is initialised already, and is never initialised over the API",
            "unsupported",
            advice="run `sealward init` on the server",
        )

    @operation(Verb.READ, "leader", open=True)
    def leader(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Tell that every replica leads: they share nothing but the database."""
        document = {
            "ha_enabled": False,
            "is_self": True,
            "leader_address": self._rooms.base_url,
            "leader_cluster_address": "",
            "performance_standby": False,
        }
        return bare(document)

    @operation(Verb.READ, "metrics")
    def metrics(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Read the metrics, in the text format of Prometheus; `/metrics` is the same."""
        return Reply(raw=(CONTENT_TYPE, self._rooms.exposition().encode()))

    def _seal_status(self) -> dict[str, Any]:
        return {
            "type": "pkcs11",
            "initialized": True,
            "sealed": self._rooms.readiness.is_sealed(),
            "t": 0,
            "n": 0,
            "progress": 0,
            "nonce": "",
            "version": self._rooms.version,
            "build_date": "",
            "migration": False,
            "cluster_name": "sealward",
            "cluster_id": self._rooms.cluster_id,
            "recovery_seal": True,
            "storage_type": self._rooms.database.dialect,
        }


def _code(call: Call, name: str, default: int) -> int:
    """Return the status that the client wants for a state (RFC 9110 15: three digits)."""
    text = call.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and _LOWEST <= int(text[:4]) <= _HIGHEST):
        raise Malformed(f"{name} is no HTTP status", advice="give a number from 200 to 599")
    return int(text)
