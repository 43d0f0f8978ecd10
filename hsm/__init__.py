"""The PKCS#11 token, behind cryptography's own private-key classes.

This room knows cryptography and PKCS#11, and nothing else of the house. `Hsm.open` gives one token; `signing_key`
gives a real subclass of cryptography's key classes whose `sign` runs in the token; `wrapping` seals data keys.
"""

from hsm.algorithms import KeyAlgorithm
from hsm.device import Hsm
from hsm.errors import (
    HsmBadCiphertext,
    HsmBadSignature,
    HsmBusy,
    HsmError,
    HsmKeyNotFound,
    HsmLoginFailed,
    HsmMisconfigured,
    HsmStuck,
    HsmUnavailable,
    HsmUnsafe,
    HsmUnsupported,
)
from hsm.keys import TokenECKey, TokenEd25519Key, TokenKey, TokenRSAKey
from hsm.lanes import Lane
from hsm.objects import KeyAttributes

__all__ = [
    "Hsm",
    "HsmBadCiphertext",
    "HsmBadSignature",
    "HsmBusy",
    "HsmError",
    "HsmKeyNotFound",
    "HsmLoginFailed",
    "HsmMisconfigured",
    "HsmStuck",
    "HsmUnavailable",
    "HsmUnsafe",
    "HsmUnsupported",
    "KeyAlgorithm",
    "KeyAttributes",
    "Lane",
    "TokenECKey",
    "TokenEd25519Key",
    "TokenKey",
    "TokenRSAKey",
]
