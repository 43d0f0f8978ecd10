"""The doctor: what can this token do, and does it keep what it must keep?

Mechanism lists promise too much and attributes too: NSS says CKA_EXTRACTABLE false of a key, and wraps it. So each
mechanism is run once, and each way out of the token is tried once. All keys made here are session objects, destroyed
at the end; nothing that comes out is kept or shown.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from pkcs11.constants import Attribute
from pkcs11.exceptions import PKCS11Error
from pkcs11.mechanisms import GCMParams, Mechanism
from pkcs11.types import DecryptMixin, EncryptMixin, Object, SignMixin

from hsm import extraction, objects
from hsm.algorithms import RSA_BITS, KeyAlgorithm
from hsm.device import IV_SIZE, KEY_ID_SIZE, Hsm
from hsm.errors import HsmBadSignature, HsmUnsafe, HsmUnsupported
from hsm.extraction import Refusal
from hsm.keys import TokenECKey, TokenEd25519Key, TokenRSAKey, token_key
from hsm.lanes import Lane
from hsm.publickeys import read_public_key
from hsm.sessions import TokenSession

LABEL = "probe"
_MESSAGE = b"probe"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing tried: `ok` is the answer that is wished for, `detail` what was seen."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All that was tried. `safe` is False when a key came out, could come out, or was not made as asked.

    A mechanism that the token lacks is a failed check, but makes no token unsafe.
    """

    checks: tuple[Check, ...]
    safe: bool


def probe(hsm: Hsm) -> Report:
    """Examine the token. Raises HsmUnavailable, HsmBusy: a token that goes away meanwhile is not called safe.

    Takes some seconds, since it makes RSA keys.
    """
    before = _count_objects(hsm)
    abilities = [_try(hsm, name, algorithm, use) for name, algorithm, use in _uses()]
    abilities += [_offers(hsm, bits) for bits in (3072, 4096)]
    abilities += [_random(hsm), Check(*hsm.sessions.run(Lane.KEYGEN, extraction.control))]
    safety = [Check(*finding) for kind in extraction.EXAMINED for finding in _examine_fresh(hsm, kind)]
    safety += [Check(*finding) for finding in hsm.sessions.run(Lane.KEYGEN, extraction.examine_stored)]
    after = _count_objects(hsm)
    abilities.append(Check("leaves no object behind", before == after, f"{before} objects before, {after} after"))
    return Report((*abilities, *safety), safe=all(check.ok for check in safety))


@contextlib.contextmanager
def _throwaway(session: TokenSession, algorithm: KeyAlgorithm) -> Iterator[Object]:
    key_id = os.urandom(KEY_ID_SIZE)
    try:
        yield objects.generate(session, algorithm, key_id, LABEL, stored=False)
    finally:
        with contextlib.suppress(PKCS11Error):
            objects.destroy(session, key_id)


class _InSession:
    """Signs with one key in one session, so that the real key classes can be tried on a session object."""

    def __init__(self, key: Object) -> None:
        self._key = key

    def sign(self, key_id: bytes, mechanism: Mechanism, data: bytes, *, parameter: Any = None, lane: Lane) -> bytes:
        """Sign with the key, whatever the id."""
        del key_id, lane
        if not isinstance(self._key, SignMixin):
            raise HsmUnsupported("the key may not sign")
        return self._key.sign(data, mechanism=mechanism, mechanism_param=parameter)


Use = Callable[[TokenSession, Object], None]


def _uses() -> tuple[tuple[str, KeyAlgorithm, Use], ...]:
    return (
        ("sign rsa-2048 pkcs1v15 sha256", KeyAlgorithm.RSA_2048, _sign_with(padding.PKCS1v15())),
        ("sign rsa-2048 pss sha256", KeyAlgorithm.RSA_2048, _sign_with(padding.PSS(padding.MGF1(hashes.SHA256()), 32))),
        ("sign ec-p256 sha256", KeyAlgorithm.EC_P256, _sign_with(None)),
        ("sign ec-p384 sha256", KeyAlgorithm.EC_P384, _sign_with(None)),
        ("sign ed25519", KeyAlgorithm.ED25519, _sign_with(None)),
        ("encrypt and decrypt aes-256 gcm", KeyAlgorithm.AES_256, _seal),
    )


def _sign_with(scheme: padding.PKCS1v15 | padding.PSS | None) -> Use:
    def use(session: TokenSession, key: Object) -> None:
        key_id: bytes = key[Attribute.ID]
        held = token_key(_InSession(key), key_id, read_public_key(session, key_id), Lane.KEYGEN)
        if isinstance(held, TokenRSAKey) and scheme is not None:
            held.sign(_MESSAGE, scheme, hashes.SHA256())
        elif isinstance(held, TokenECKey):
            held.sign(_MESSAGE, ec.ECDSA(hashes.SHA256()))
        elif isinstance(held, TokenEd25519Key):
            held.sign(_MESSAGE)

    return use


def _seal(session: TokenSession, key: Object) -> None:
    del session
    if not (isinstance(key, EncryptMixin) and isinstance(key, DecryptMixin)):
        raise HsmUnsupported("the key may not encrypt and decrypt")
    iv = os.urandom(IV_SIZE)
    sealed = key.encrypt(_MESSAGE, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(iv, b"right"))
    if key.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(iv, b"right")) != _MESSAGE:
        raise HsmUnsupported("what was encrypted does not come back")
    with Refusal():
        key.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(iv, b"wrong"))
        raise HsmUnsupported("the token does not check the additional data of GCM")


def _try(hsm: Hsm, name: str, algorithm: KeyAlgorithm, use: Use) -> Check:
    """Make a key and use it, in a session of its own: what fails may leave the session unusable."""

    def work(session: TokenSession) -> Check:
        with Refusal() as answer:
            with _throwaway(session, algorithm) as key:
                use(session, key)
            return Check(name, ok=True)
        return Check(name, ok=False, detail=f"the token refused: {answer.reason}")

    try:
        return hsm.sessions.run(Lane.KEYGEN, work)
    except (HsmUnsupported, HsmBadSignature, HsmUnsafe) as error:
        return Check(name, ok=False, detail=error.message)


def _examine_fresh(hsm: Hsm, algorithm: KeyAlgorithm) -> list[tuple[str, bool, str]]:
    """Make a key of that kind as the house makes them, and try to get it out."""

    def work(session: TokenSession) -> list[tuple[str, bool, str]]:
        with contextlib.ExitStack() as until_done:
            with Refusal() as answer:
                key = until_done.enter_context(_throwaway(session, algorithm))
            if not answer.reason:
                return extraction.examine_fresh(session, algorithm, key)
        extraction.require_alive(session)
        # A key that cannot be made cannot leak; that it cannot be made is told among the abilities.
        return [(f"{algorithm} stays in the token", True, f"none can be made: {answer.reason}")]

    try:
        return hsm.sessions.run(Lane.KEYGEN, work)
    except HsmUnsafe as error:
        return [(f"{algorithm} stays in the token", False, error.message)]


def _offers(hsm: Hsm, bits: int) -> Check:
    """Ask, without making one, whether RSA keys of that size can be made: it takes seconds."""
    name = next(algorithm.value for algorithm, size in RSA_BITS.items() if size == bits)

    def work(session: TokenSession) -> Check:
        with Refusal() as answer:
            slot = session.raw.token.slot
            info = slot.get_mechanism_info(Mechanism.RSA_PKCS_KEY_PAIR_GEN)
            longest = info.max_key_length or 0
            return Check(f"offers {name}", longest >= bits, f"up to {longest} bits")
        return Check(f"offers {name}", ok=False, detail=answer.reason)

    return hsm.sessions.run(Lane.KEYGEN, work)


def _random(hsm: Hsm) -> Check:
    try:
        first, second = hsm.random(32), hsm.random(32)
    except HsmUnsupported as error:
        return Check("random", ok=False, detail=error.message)
    return Check("random", first != second and len(first) == 32)  # noqa: PLR2004


def _count_objects(hsm: Hsm) -> int:
    return hsm.sessions.run(Lane.KEYGEN, lambda session: len(session.search({})))
