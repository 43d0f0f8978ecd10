"""Every way out of the token that we know of, tried on a key that must stay in it."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Self

from pkcs11.constants import Attribute, MechanismFlag, ObjectClass
from pkcs11.exceptions import OperationActive, PKCS11Error, SessionClosed, SessionHandleInvalid
from pkcs11.mechanisms import KeyType, Mechanism
from pkcs11.types import Object, SecretKey, WrapMixin

from hsm import objects
from hsm.algorithms import KeyAlgorithm
from hsm.faults import Fault, classify
from hsm.objects import describe
from hsm.sessions import TokenSession
from hsm.templates import Template

Finding = tuple[str, bool, str]  # what was tried, whether the key stayed, what was seen

EXAMINED = (KeyAlgorithm.RSA_2048, KeyAlgorithm.EC_P256, KeyAlgorithm.ED25519, KeyAlgorithm.AES_256)
_SECRET_PARTS = (
    Attribute.VALUE,
    Attribute.PRIVATE_EXPONENT,
    Attribute.PRIME_1,
    Attribute.PRIME_2,
    Attribute.EXPONENT_1,
    Attribute.EXPONENT_2,
    Attribute.COEFFICIENT,
)
_AES_WRAPS: tuple[tuple[Mechanism, int | None], ...] = (
    (Mechanism.AES_KEY_WRAP, None),
    (Mechanism.AES_KEY_WRAP_PAD, None),
    (Mechanism.AES_KEY_WRAP_KWP, None),
    (Mechanism.AES_ECB, None),
    (Mechanism.AES_CBC, 16),
    (Mechanism.AES_CBC_PAD, 16),
)
_RSA_WRAPS = (Mechanism.RSA_PKCS, Mechanism.RSA_PKCS_OAEP)
_WEAKENINGS = ((Attribute.EXTRACTABLE, True), (Attribute.SENSITIVE, False))


class Refusal:
    """Swallows, in a `with` block, the token's refusal of a request, and keeps its `reason`.

    That the token is gone is not swallowed: a dead token refuses everything, which must not read as safe.
    """

    def __init__(self) -> None:
        self.reason = ""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """Swallow the error if it is a refusal."""
        if not isinstance(error, PKCS11Error):
            return False
        lost = classify(error, frozenset()) in (Fault.MODULE, Fault.LOGIN, Fault.CAPACITY, Fault.PIN)
        if lost or isinstance(error, (SessionHandleInvalid, SessionClosed, OperationActive)):
            return False
        self.reason = type(error).__name__
        return True


def examine_fresh(session: TokenSession, algorithm: KeyAlgorithm, key: Object) -> list[Finding]:
    """Try every way out on a throwaway key made by our template, those that alter the key last."""
    with _wrapping_keys(session) as wrapping:
        leaks = _read(key) + _wrap(key, wrapping) + _copy(key) + _weaken(key)
    require_alive(session, key)
    detail = "; ".join(leaks) or f"not read, {_unwrapped(wrapping)}, not copied, not made extractable"
    return [(f"{algorithm} stays in the token", not leaks, detail)]


def examine_stored(session: TokenSession) -> list[Finding]:
    """Try, on every key that is kept in the token, the ways out that do not alter it."""
    findings = []
    with _wrapping_keys(session) as wrapping:
        for key in objects.all_keys(session):
            seen = describe(key)
            if not seen.token:
                continue
            leaks = _read(key) + _wrap(key, wrapping)
            require_alive(session, key)
            if not seen.stays_in_token:
                leaks.insert(0, "its attributes let it out")
            name = f"key {seen.label!r} {seen.key_id.hex()} stays in the token"
            findings.append((name, not leaks, "; ".join(leaks) or f"not read, {_unwrapped(wrapping)}"))
    return findings


def control(session: TokenSession) -> Finding:
    """Get a key out that may come out, to show that the trials can see a leak."""
    name = "control: an extractable key is read and wrapped"
    with Refusal() as answer, _wrapping_keys(session) as wrapping:
        open_key = _aes(session, {Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False})
        try:
            came_out = bool(_read(open_key)), bool(_wrap(open_key, wrapping))
        finally:
            open_key.destroy()
        return name, all(came_out), "read: {}, wrapped: {}".format(*came_out)
    return name, False, f"the token makes no such key: {answer.reason}"


def require_alive(session: TokenSession, key: Object | None = None) -> None:
    """Raise unless token, login and key still answer: else what looked like refusals was their absence."""
    session.require_token()
    session.require_login()
    if key is not None:
        key.get_attributes([Attribute.ID])


def _unwrapped(wrapping: list[tuple[WrapMixin, Mechanism, Any]]) -> str:
    return (
        f"not wrapped in {len(wrapping)} ways" if wrapping else "no wrapping tried, since the token makes no such keys"
    )


def _read(key: Object) -> list[str]:
    leaks = []
    for part in _SECRET_PARTS:
        with Refusal():
            if key[part]:
                leaks.append(f"CKA_{part.name} was read")
    return leaks


def _wrap(key: Object, wrapping: list[tuple[WrapMixin, Mechanism, Any]]) -> list[str]:
    leaks = []
    for wrapping_key, mechanism, parameter in wrapping:
        with Refusal():
            # The stubs ask for a Key; any object of that class will do.
            wrapping_key.wrap_key(key, mechanism=mechanism, mechanism_param=parameter)  # type: ignore[arg-type]
            leaks.append(f"wrapped by {mechanism.name}")
    return leaks


def _copy(key: Object) -> list[str]:
    leaks = []
    for name, value in _WEAKENINGS:
        with Refusal():
            copied = key.copy({Attribute.TOKEN: False, name: value})
            if copied[name] == value:
                leaks.append(f"copied with CKA_{name.name} {value}")
            copied.destroy()
    return leaks


def _weaken(key: Object) -> list[str]:
    leaks = []
    for name, value in _WEAKENINGS:
        with Refusal():
            key[name] = value
            if key[name] == value:
                leaks.append(f"CKA_{name.name} was set {value}")
    return leaks


@contextlib.contextmanager
def _wrapping_keys(session: TokenSession) -> Iterator[list[tuple[WrapMixin, Mechanism, Any]]]:
    """Make session keys that wrap, each with the mechanisms to try."""
    made: list[Object] = []
    ways: list[tuple[WrapMixin, Mechanism, Any]] = []
    try:
        with Refusal():
            made.append(key := _aes(session, {Attribute.WRAP: True}))
            if isinstance(key, WrapMixin):
                ways += [(key, mechanism, os.urandom(size) if size else None) for mechanism, size in _AES_WRAPS]
        with Refusal():
            pair = session.raw.generate_keypair(
                KeyType.RSA,
                2048,
                capabilities=MechanismFlag(0),
                public_template={
                    Attribute.TOKEN: False,
                    Attribute.WRAP: True,
                    Attribute.MODULUS_BITS: 2048,
                    Attribute.PUBLIC_EXPONENT: b"\x01\x00\x01",
                },
                private_template={Attribute.TOKEN: False, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
            )
            made += pair
            if isinstance(pair[0], WrapMixin):
                ways += [(pair[0], mechanism, None) for mechanism in _RSA_WRAPS]
        yield ways
    finally:
        for item in made:
            with contextlib.suppress(PKCS11Error):
                item.destroy()


def _aes(session: TokenSession, extra: Template) -> SecretKey:
    template = {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.TOKEN: False,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        **extra,
    }
    return session.raw.generate_key(
        KeyType.AES, 256, capabilities=MechanismFlag(0), mechanism=Mechanism.AES_KEY_GEN, template=template
    )
