"""Keys as objects in the token: read their attributes, generate them, destroy them. All within one session."""

import contextlib
from dataclasses import dataclass

from pkcs11.constants import Attribute, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error
from pkcs11.mechanisms import Mechanism
from pkcs11.types import Object

from hsm.algorithms import KeyAlgorithm, algorithm_of
from hsm.errors import HsmError, HsmKeyNotFound, HsmUnsafe
from hsm.sessions import TokenSession
from hsm.templates import KEPT_IN_TOKEN, PRIVATE_USES, SECRET_USES, Template, key_template, public_template

KEY_CLASSES = (ObjectClass.PRIVATE_KEY, ObjectClass.SECRET_KEY)
_DESCRIBING = [
    Attribute.CLASS,
    Attribute.ID,
    Attribute.LABEL,
    Attribute.KEY_TYPE,
    Attribute.EC_PARAMS,
    Attribute.MODULUS,
    Attribute.VALUE_LEN,
    Attribute.TOKEN,
    *KEPT_IN_TOKEN,
    *dict.fromkeys((*PRIVATE_USES, *SECRET_USES)),
]


@dataclass(frozen=True, slots=True)
class KeyAttributes:
    """What the token says of a private or secret key. What it does not say counts as the unsafe answer.

    `algorithm` is None for a key of a kind this room does not make; `uses` are lower-case names such as `sign`.
    """

    key_id: bytes
    label: str
    algorithm: KeyAlgorithm | None
    token: bool
    private: bool
    sensitive: bool
    extractable: bool
    always_sensitive: bool
    never_extractable: bool
    local: bool
    uses: frozenset[str]

    @property
    def stays_in_token(self) -> bool:
        """Whether the key cannot leave the token now, in the clear or wrapped."""
        return self.private and self.sensitive and not self.extractable


def describe(key: Object) -> KeyAttributes:
    """Read a private or secret key's attributes."""
    read = key.get_attributes(_DESCRIBING)
    modulus: bytes = read.get(Attribute.MODULUS, b"")
    bits = int.from_bytes(modulus).bit_length() or 8 * read.get(Attribute.VALUE_LEN, 0)
    return KeyAttributes(
        key_id=read.get(Attribute.ID, b""),
        label=read.get(Attribute.LABEL, ""),
        algorithm=algorithm_of(
            read.get(Attribute.KEY_TYPE, -1), bits=bits, ec_params=read.get(Attribute.EC_PARAMS, b"")
        ),
        token=read.get(Attribute.TOKEN, False),
        private=read.get(Attribute.PRIVATE, False),
        sensitive=read.get(Attribute.SENSITIVE, False),
        extractable=read.get(Attribute.EXTRACTABLE, True),
        always_sensitive=read.get(Attribute.ALWAYS_SENSITIVE, False),
        never_extractable=read.get(Attribute.NEVER_EXTRACTABLE, False),
        local=read.get(Attribute.LOCAL, False),
        uses=frozenset(use.name.lower() for use in {*PRIVATE_USES, *SECRET_USES} if read.get(use)),
    )


def find_key(session: TokenSession, key_id: bytes) -> Object:
    """Return the private or secret key of that id. Raises HsmKeyNotFound."""
    for kind in KEY_CLASSES:
        found = session.find(key_id, kind)
        if found is not None:
            return found
    raise HsmKeyNotFound(f"the token holds no key of id {key_id.hex()}")


def all_keys(session: TokenSession) -> list[Object]:
    """Return every private and secret key that the login may see."""
    return [key for kind in KEY_CLASSES for key in session.search({Attribute.CLASS: kind})]


def generate(
    session: TokenSession, algorithm: KeyAlgorithm, key_id: bytes, label: str, *, stored: bool = True
) -> Object:
    """Generate a key (pair) in the token and return the private or secret key.

    Raises HsmUnsafe when the token's read-back differs from what was asked for. Whatever fails, nothing of that id
    stays in the token, as far as the token still answers.
    """
    try:
        key = _generate(session, algorithm, key_id, label, stored=stored)
        require(key, key_template(algorithm, key_id, label, stored=stored))
        if describe(key).algorithm is not algorithm:
            raise HsmUnsafe(f"the token made another kind of key than {algorithm}; it was destroyed")
    except (PKCS11Error, HsmError):
        with contextlib.suppress(PKCS11Error):
            destroy(session, key_id)
        raise
    return key


def _generate(session: TokenSession, algorithm: KeyAlgorithm, key_id: bytes, label: str, *, stored: bool) -> Object:
    template = key_template(algorithm, key_id, label, stored=stored)
    if algorithm is KeyAlgorithm.AES_256:
        # `capabilities` and the like are left to the template (see Mapper).
        return session.raw.generate_key(
            algorithm.key_type, 256, capabilities=MechanismFlag(0), mechanism=Mechanism.AES_KEY_GEN, template=template
        )
    public = public_template(algorithm, key_id, label, stored=stored)
    for use in session.quirks.unnamed_public_uses:
        public.pop(use)
    _, private = session.raw.generate_keypair(
        algorithm.key_type,
        public.get(Attribute.MODULUS_BITS),
        capabilities=MechanismFlag(0),
        public_template=public,
        private_template=template,
    )
    return private


def require(key: Object, template: Template) -> None:
    """Raise HsmUnsafe unless the key's attributes are those of the template, and those of a key made in the token."""
    wanted = {**template, **KEPT_IN_TOKEN}
    read = key.get_attributes(list(wanted))
    # A use that the token does not even know for this class of key is not granted; all else it must say itself.
    differing = [
        name.name
        for name, value in wanted.items()
        if read.get(name, False if name in (*PRIVATE_USES, *SECRET_USES) else None) != value
    ]
    if differing:
        raise HsmUnsafe(f"the token made a key whose {', '.join(differing)} are not as asked; it was destroyed")


def destroy(session: TokenSession, key_id: bytes) -> int:
    """Destroy every key object of that id, public halves included; return how many there were."""
    found = [
        item
        for kind in (*KEY_CLASSES, ObjectClass.PUBLIC_KEY)
        for item in session.search({Attribute.CLASS: kind, Attribute.ID: key_id})
    ]
    session.handles.clear()
    for item in found:
        item.destroy()
    return len(found)
