"""What keys may be used for: in the words of the API's roles, and in a profile's."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pki.authority.profiles import KEY_USAGES
from pki.errors import Rejected

ORDINARY = ("DigitalSignature", "KeyAgreement", "KeyEncipherment")
"""The key usages of a role that names none. Certificates have those of them that their kind of key is for here."""
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "serverauth": "server_auth",
        "clientauth": "client_auth",
        "codesigning": "code_signing",
        "emailprotection": "email_protection",
    }
)
_OIDS: Mapping[str, str] = MappingProxyType({oid.dotted_string: name for name, oid in KEY_USAGES.items()})


def extended_usages(flagged: Iterable[str], names: Iterable[str], oids: Iterable[str]) -> tuple[str, ...]:
    """Return a profile's extended key usages: those with a flag, and those named as the API's roles name them.

    Raises:
        Rejected: malformed: one is not known, or there is none, which would leave the key good for everything.
    """
    found = set(flagged)
    for name in names:
        found.add(_known(_NAMES.get(name.lower().removeprefix("extkeyusage")), "ext_key_usage", name))
    for oid in oids:
        found.add(_known(_OIDS.get(oid), "ext_key_usage_oids", oid))
    if not found:
        advice = "set server_flag or client_flag"
        raise Rejected("a role without extended key usages is good for everything", "malformed", advice=advice)
    return tuple(name for name in KEY_USAGES if name in found)


def _known(found: str | None, field: str, given: str) -> str:
    if found is None:
        advice = "ServerAuth, ClientAuth, CodeSigning and EmailProtection are"
        raise Rejected(f"{field}: {given[:64]!a} is not supported", "malformed", advice=advice)
    return found


def check_key_usage(given: Iterable[str], *, takes_rsa: bool) -> None:
    """Refuse key usages other than those that certificates will have.

    They are digitalSignature, and keyEncipherment for RSA keys, of which none can be left out.

    Raises:
        Rejected: malformed.
    """
    asked = {item.lower().removeprefix("keyusage") for item in given}
    made = {"digitalsignature", "keyencipherment"} if takes_rsa else {"digitalsignature"}
    if made - asked or asked - {item.lower() for item in ORDINARY}:
        advice = "leave it out: keys are for digital signatures, those of RSA for key encipherment too"
        raise Rejected("key_usage is not supported so", "malformed", advice=advice)
