"""What some modules want otherwise, by the manufacturer that C_GetInfo names: a row each, tried on that module."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pkcs11.constants import Attribute


@dataclass(frozen=True, slots=True)
class Quirks:
    """Departures from the house's ways.

    `unnamed_public_uses`: flags of a public key that must not stand in its template, so that the module decides them.
    """

    unnamed_public_uses: frozenset[Attribute] = frozenset()


_NONE = Quirks()
_BY_MANUFACTURER: Mapping[str, Quirks] = MappingProxyType(
    {
        # tpm2-pkcs11 1.9 compares these flags with those of the TPM's private key, which differ, and then fails.
        "tpm2-software.github.io": Quirks(unnamed_public_uses=frozenset({Attribute.VERIFY, Attribute.ENCRYPT})),
    }
)


def quirks_of(manufacturer: str) -> Quirks:
    """Return the quirks of that manufacturer's module."""
    return _BY_MANUFACTURER.get(manufacturer, _NONE)
