"""What every part of the ACME door shares: the rooms it calls, and its own settings."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from acme_server import store
from acme_server.account_keys import KnownKeys
from acme_server.links import Links
from acme_server.nonces import Nonces
from acme_server.validation import ValidationSettings
from acme_server.validation.pool import Pool
from pki.audit.trail import Trail
from pki.authority.issue import Gate
from pki.authority.issuers import Issuers
from pki.authority.profiles import Profile, Profiles
from pki.authority.revoke import Revocation
from pki.clock import Clock
from pki.config import ValidationConfig
from pki.core import Core, https_base_url
from pki.errors import NotFound
from pki.ids import Ids
from pki.storage.database import Database

_DOOR = "acme"
_NONCE_KEY = "acme nonces"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Door:
    """The ACME door's dependencies. `base_url` is the service's own; the Host header is never asked."""

    base_url: str
    database: Database
    clock: Clock
    ids: Ids
    trail: Trail
    gate: Gate
    issuers: Issuers
    profiles: Profiles
    revocation: Revocation
    nonces: Nonces
    known_keys: KnownKeys
    validation: ValidationSettings
    validations: Pool
    order_lifetime: timedelta
    terms_of_service: str

    def links(self, profile: str) -> Links:
        """Return the URLs of one profile's directory."""
        return Links(self.base_url, profile)

    def profile(self, name: str) -> Profile:
        """Return the profile of that name, which must be served by this door.

        Raises:
            NotFound: there is none, or it is not for ACME.
        """
        profile = self.profiles.get(name)
        if _DOOR not in profile.doors:
            raise NotFound(f"profile {name} is not served over ACME", advice="name one whose doors include acme")
        return profile

    def close(self) -> None:
        """End the validation threads; the rooms are the core's to close."""
        self.validations.close()


def _validation(config: ValidationConfig) -> ValidationSettings:
    return ValidationSettings(
        resolver=None if config.resolver is None else (config.resolver.host, config.resolver.port),
        http01_port=config.http01_port,
        tlsalpn01_port=config.tlsalpn01_port,
        allow=config.allow,
        deadline=config.deadline,
    )


def nonce_key(core: Core, boot_id: Path = _BOOT_ID) -> bytes:
    """Return the key of the nonces: on SQLite another one each time the machine has started.

    There, spent nonces are written without waiting for the disk (`store.spend_nonce`). A power cut may lose the last of
    them, and so it ends all nonces: clients are told badNonce once, and go on with a new one (RFC 8555 6.5).
    """
    key = core.service_keys.get(_NONCE_KEY)
    return hmac.digest(key, boot_id.read_bytes(), hashlib.sha256) if core.database.dialect == "sqlite" else key


def open_door(core: Core) -> Door:
    """Return the door over `core`, whose replicas share the key of the nonces.

    Raises:
        Sealed, HsmError, DatabaseUnavailable: the key cannot be read now.
        Misconfigured: the settings do not hold.
    """
    spend = partial(store.spend_nonce, core.database)
    return Door(
        base_url=https_base_url(core.config),
        database=core.database,
        clock=core.clock,
        ids=core.ids,
        trail=core.trail,
        gate=core.gate,
        issuers=core.issuers,
        profiles=core.profiles,
        revocation=core.revocation,
        nonces=Nonces(nonce_key(core), core.clock, spend),
        known_keys=KnownKeys(),
        validation=_validation(core.config.acme.validation),
        validations=Pool(),
        order_lifetime=timedelta(days=core.config.acme.order_days),
        terms_of_service=core.config.acme.terms_of_service,
    )
