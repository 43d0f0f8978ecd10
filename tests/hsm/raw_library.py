"""What happens without this room's care, and with it: programs for a process of its own, which may crash.

`crash MODULE LABEL PIN`: two threads sign, each on a session of its own, through the bare library.
`stale MODULE LABEL PIN`: sign with key a's object kept from before a restart of the bare library; print who signed.
`many MODULE LABEL PIN ROUNDS`: two threads sign through `Hsm`; print the good signatures.
`hammer MODULE LABEL PIN ROUNDS`: two threads sign, unwrap, generate and destroy through `Hsm`; print the good rounds.
"""

import resource
import sys
import threading
from collections.abc import Callable

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from pkcs11.constants import Attribute, ObjectClass
from pkcs11.mechanisms import KeyType, Mechanism
from pkcs11.types import PrivateKey, Session, SignMixin

from hsm import Hsm, KeyAlgorithm, TokenECKey, wrapping

P256 = {Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}
DIGEST = bytes(32)


def in_two_threads(work: Callable[[int], None]) -> None:
    """Run `work(0)` and `work(1)` at the same time."""
    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def crash(module: str, label: str, pin: str) -> None:
    """Sign on two threads with the library as it comes."""
    token = pkcs11.lib(module).get_token(token_label=label)
    login = token.open(rw=True, user_pin=pin)
    login.generate_keypair(KeyType.EC, id=b"crash", store=True, public_template=P256)
    keys = [signing_key(token.open(), b"crash") for _ in (0, 1)]

    def work(number: int) -> None:
        for _ in range(3000):
            keys[number].sign(DIGEST, mechanism=Mechanism.ECDSA)

    in_two_threads(work)


def stale(module: str, label: str, pin: str) -> None:
    """Show whose signature a kept key object gives after the library was initialised anew."""
    library = pkcs11.lib(module)

    def session() -> Session:
        return library.get_token(token_label=label).open(rw=True, user_pin=pin)

    maker = session()
    points = {}
    for name in ("a", "b"):
        public, _ = maker.generate_keypair(KeyType.EC, id=name.encode(), store=True, public_template=P256)
        points[name] = public[Attribute.EC_POINT][2:]
    library.reinitialize()
    kept = signing_key(session(), b"a")
    library.reinitialize()
    signing_key(session(), b"b")
    raw = kept.sign(DIGEST, mechanism=Mechanism.ECDSA)
    sys.stdout.write("".join(name for name, point in points.items() if verifies(point, raw)))


def signing_key(session: Session, key_id: bytes) -> SignMixin:
    """Look the private key up."""
    key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, id=key_id)
    assert isinstance(key, PrivateKey)
    assert isinstance(key, SignMixin)
    return key


def verifies(point: bytes, raw: bytes) -> bool:
    """Whether that public key made that r||s."""
    signature = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    try:
        key.verify(signature, DIGEST, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except InvalidSignature:
        return False
    return True


def hammer(module: str, label: str, pin: str, rounds: str) -> None:
    """Sign and unwrap on two threads, and generate and destroy keys meanwhile."""
    with Hsm.open(module, label, pin) as hsm:
        key = hsm.signing_key(hsm.generate_key(KeyAlgorithm.EC_P256, "signing"))
        assert isinstance(key, TokenECKey)
        kek_id = hsm.generate_key(KeyAlgorithm.AES_256, "kek")
        blob = wrapping.wrap_key(hsm, kek_id, bytes(32), b"bound")
        done = [0, 0]

        def work(number: int) -> None:
            for turn in range(int(rounds)):
                key.sign(b"message", ec.ECDSA(hashes.SHA256()))
                assert wrapping.unwrap_key(hsm, kek_id, blob, b"bound") == bytes(32)
                if turn % 50 == 0:
                    hsm.destroy_key(hsm.generate_key(KeyAlgorithm.AES_256, "passing"))
                done[number] += 1

        in_two_threads(work)
        sys.stdout.write(str(sum(done)))


def many(module: str, label: str, pin: str, rounds: str) -> None:
    """Sign on two threads through `Hsm`, verify each signature outside of it, and print how many were good."""
    with Hsm.open(module, label, pin) as hsm:
        key = hsm.signing_key(hsm.generate_key(KeyAlgorithm.EC_P256, "ca"))
        assert isinstance(key, TokenECKey)
        algorithm, public_key = ec.ECDSA(hashes.SHA256()), key.public_key()
        good = [0, 0]

        def work(number: int) -> None:
            for turn in range(int(rounds)):
                message = b"%d-%d" % (number, turn)
                public_key.verify(key.sign(message, algorithm), message, algorithm)
                good[number] += 1

        in_two_threads(work)
        sys.stdout.write(str(sum(good)))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    programs: dict[str, Callable[..., None]] = {"crash": crash, "stale": stale, "hammer": hammer, "many": many}
    programs[sys.argv[1]](*sys.argv[2:])
