"""Data keys in memory: unwrapped by a KEK when first needed, kept for a minute, gone when the keyring is locked.

Given rows; it opens no database. One DEK serves one namespace and mount, so a memory dump shows the values of those
alone that were in use within the last minute. Python cannot wipe `bytes`: a forgotten key stays in freed memory until
it is overwritten.
"""

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from pki.clock import Clock
from pki.errors import NotFound, Sealed
from pki.seal import envelope
from pki.seal.envelope import DEK_OCTETS, Envelope, associated_data

LIFETIME = 60.0
"""Seconds for which an unwrapped data key stays in memory."""

_WRAPPING_VERSION = b"sealward dek v1"


class Kek(Protocol):
    """Wraps and unwraps data keys; `id` is that of its row."""

    @property
    def id(self) -> str:
        """The id of the KEK's row."""
        ...

    def wrap(self, dek: bytes, aad: bytes) -> bytes:
        """Return `dek` wrapped, bound to `aad`."""
        ...

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        """Return the data key; HsmError if it, or `aad`, is not what was wrapped."""
        ...


@dataclass(frozen=True, slots=True)
class WrappedDek:
    """A data key as its row keeps it; nothing in it is secret. `mount` is the mount's id, which never changes."""

    id: str
    namespace_id: str
    mount: str
    kek_id: str
    wrapped: bytes

    def row(self, created_at: int) -> dict[str, object]:
        """Return the values of its row in the table `deks`; `created_at` is unix milliseconds."""
        return {
            "id": self.id,
            "namespace_id": self.namespace_id,
            "mount": self.mount,
            "kek_id": self.kek_id,
            "wrapped": self.wrapped,
            "state": "active",
            "created_at": created_at,
        }


@dataclass(frozen=True, slots=True, repr=False)
class _Unwrapped:
    key: bytes
    until: float


class Keyring:
    """Seals and opens values by the id of a data key; for all threads of a process.

    `cluster_id` binds wrapped keys to this installation; `random` makes new data keys.
    """

    def __init__(
        self,
        keks: Iterable[Kek],
        cluster_id: str,
        clock: Clock,
        *,
        random: Callable[[int], bytes] = os.urandom,
        lifetime: float = LIFETIME,
    ) -> None:
        self._keks = {kek.id: kek for kek in keks}
        self._cluster_id = cluster_id
        self._clock = clock
        self._random = random
        self._lifetime = lifetime
        self._deks: dict[str, WrappedDek] = {}
        self._unwrapped: dict[str, _Unwrapped] = {}
        self._locked = False
        self._mutex = threading.Lock()

    @property
    def locked(self) -> bool:
        """Whether the keyring refuses to seal and open."""
        return self._locked

    def new_dek(self, dek_id: str, namespace_id: str, mount: str, kek_id: str) -> WrappedDek:
        """Make a data key and wrap it; the keyring knows it from now on, and the caller stores its `row`."""
        self._refuse_if_locked()
        fresh = WrappedDek(dek_id, namespace_id, mount, kek_id, b"")
        wrapped = self._kek(kek_id).wrap(self._random(DEK_OCTETS), self._wrapping_aad(fresh))
        dek = WrappedDek(dek_id, namespace_id, mount, kek_id, wrapped)
        self.add(dek)
        return dek

    def add(self, *deks: WrappedDek) -> None:
        """Make rows known; a row that changed (rewrapped by another KEK) takes the place of the old one."""
        with self._mutex:
            self._deks.update({dek.id: dek for dek in deks})

    def knows(self, dek_id: str) -> bool:
        """Return whether the row of `dek_id` was given."""
        return dek_id in self._deks

    def seal(self, dek_id: str, plaintext: bytes, *parts: str | bytes) -> Envelope:
        """Seal `plaintext` under `dek_id`, bound to the DEK's namespace and mount and to `parts` (immutable ids).

        Raises Sealed when locked, NotFound for a data key never given, HsmError where the HSM cannot unwrap it.
        """
        return envelope.seal(self._key(dek_id), dek_id, plaintext, self._value_aad(dek_id, parts))

    def open(self, sealed: Envelope, *parts: str | bytes) -> bytes:
        """Return the plaintext; Malformed where the value is not where it was sealed, else as `seal`."""
        key = self._key(sealed.dek_id)
        return envelope.open_(key, sealed, self._value_aad(sealed.dek_id, parts))

    def lock(self) -> None:
        """Forget every unwrapped key, and refuse to seal or open until `unlock`."""
        with self._mutex:
            self._locked = True
            self._unwrapped.clear()

    def unlock(self) -> None:
        """Serve again; each data key is unwrapped anew when it is needed."""
        with self._mutex:
            self._locked = False

    def _key(self, dek_id: str) -> bytes:
        self._refuse_if_locked()
        now = self._clock.monotonic()
        known = self._unwrapped.get(dek_id)
        if known is not None and now < known.until:
            return known.key
        dek = self._dek(dek_id)
        key = self._kek(dek.kek_id).unwrap(dek.wrapped, self._wrapping_aad(dek))
        with self._mutex:
            self._refuse_if_locked()  # it may have been locked while the HSM worked
            self._unwrapped = {name: entry for name, entry in self._unwrapped.items() if now < entry.until}
            self._unwrapped[dek_id] = _Unwrapped(key, now + self._lifetime)
        return key

    def _dek(self, dek_id: str) -> WrappedDek:
        dek = self._deks.get(dek_id)
        if dek is None:
            raise NotFound("no such data key is known", advice="load its row from the table deks and add it")
        return dek

    def _kek(self, kek_id: str) -> Kek:
        kek = self._keks.get(kek_id)
        if kek is None:
            raise NotFound("the KEK of a data key is not configured", advice="open the HSM that holds it")
        return kek

    def _refuse_if_locked(self) -> None:
        if self._locked:
            raise Sealed("the keyring is sealed", advice="unseal the service first")

    def _wrapping_aad(self, dek: WrappedDek) -> bytes:
        return associated_data(_WRAPPING_VERSION, self._cluster_id, dek.namespace_id, dek.mount, dek.id, dek.kek_id)

    def _value_aad(self, dek_id: str, parts: tuple[str | bytes, ...]) -> bytes:
        dek = self._dek(dek_id)
        return associated_data(dek.namespace_id, dek.mount, *parts)
