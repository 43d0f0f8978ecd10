"""What roles may say, by the names that clients of the Vault HTTP API know, and what is refused of it."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from pki.engines.pki.uses import ORDINARY
from pki.errors import Rejected
from pki.operations.wire import Span, Words

DEFAULT_ISSUER_REF = "default"
"""The issuer that a role means which names none."""
HOUR = 3600
_DAY = 24 * HOUR
_LONGEST_LIST = 1_000


class Role(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a role may say, by the names that clients know. Whatever names it does not allow are refused.

    `allowed_ip_sans_cidr` are the networks of addresses, all if there are none and `allow_ip_sans` is set;
    `allowed_email_domains` the domains of mailboxes. `ttl` is how long certificates live unless a request says so, a
    day if it is 0; `max_ttl` is the most, a day or `ttl` if it is 0.
    """

    issuer_ref: str = DEFAULT_ISSUER_REF
    ttl: Span = Span()
    max_ttl: Span = Span()
    not_before_duration: Span = Span(seconds=60)
    allowed_domains: Words = Words()
    allow_bare_domains: bool = False
    allow_subdomains: bool = False
    allow_glob_domains: bool = False
    allow_wildcard_certificates: bool = False
    allow_any_name: bool = False
    allow_localhost: bool = False
    allow_ip_sans: bool = False
    allowed_ip_sans_cidr: Words = Words()
    allowed_uri_sans: Words = Words()
    allowed_email_domains: Words = Words()
    server_flag: bool = True
    client_flag: bool = True
    code_signing_flag: bool = False
    email_protection_flag: bool = False
    ext_key_usage: Words = Words()
    ext_key_usage_oids: Words = Words()
    key_usage: Words = Words(ORDINARY)
    key_type: str = "any"
    key_bits: int = 0
    policy_identifiers: Words = Words()
    require_cn: bool = False
    use_csr_common_name: bool = True
    use_csr_sans: bool = True
    basic_constraints_valid_for_non_ca: bool = True
    cn_validations: Words = Words(("email", "hostname"))

    @property
    def longest(self) -> int:
        """The longest life of a certificate, in seconds."""
        return self.max_ttl.whole or max(self.ttl.whole, _DAY)

    @property
    def usual(self) -> int:
        """How long a certificate lives that is asked for without a ttl, in seconds."""
        return self.ttl.whole or min(self.longest, _DAY)


class RoleBody(Role, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role to write. `doors` are the protocols that it serves: as before, or `api` alone if it is new.

    `cas` is the version that the write must follow, 0 for none. The others are settings of that API which are not
    supported: anything but what stands here is refused.
    """

    name: str = ""
    doors: Words | None = None
    cas: int | None = None
    enforce_hostnames: bool = True
    allow_token_displayname: bool = False
    allowed_domains_template: bool = False
    allowed_uri_sans_template: bool = False
    allowed_other_sans: Words = Words()
    allowed_serial_numbers: Words = Words()
    allowed_user_ids: Words = Words()
    serial_number_source: str = ""
    country: Words = Words()
    locality: Words = Words()
    organization: Words = Words()
    ou: Words = Words()
    postal_code: Words = Words()
    province: Words = Words()
    street_address: Words = Words()
    generate_lease: bool = False
    no_store: bool = False
    no_store_metadata: bool = False
    not_after: str = ""
    signature_bits: int = 0
    use_pss: bool = False


_SUBJECT = "subjects hold a common name at most: leave it out"
_TEMPLATE = "names are written out: leave it out"
UNSUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        "enforce_hostnames": "names are always checked: leave it out",
        "allow_token_displayname": "list the names in allowed_domains",
        "allowed_domains_template": _TEMPLATE,
        "allowed_uri_sans_template": _TEMPLATE,
        "allowed_other_sans": "ask for DNS names, addresses, mailboxes or URIs",
        "allowed_serial_numbers": _SUBJECT,
        "allowed_user_ids": _SUBJECT,
        "country": _SUBJECT,
        "locality": _SUBJECT,
        "organization": _SUBJECT,
        "ou": _SUBJECT,
        "postal_code": _SUBJECT,
        "province": _SUBJECT,
        "street_address": _SUBJECT,
        "generate_lease": "revoke by serial number instead",
        "no_store": "every certificate is recorded before it is signed: leave it out",
        "no_store_metadata": "leave it out",
        "not_after": "give a max_ttl",
        "signature_bits": "the issuer's key decides how it signs: leave it out",
        "use_pss": "the issuer's key decides how it signs: leave it out",
    }
)
PLAIN = RoleBody()
_SERIAL_NUMBER_SOURCES = frozenset({"", "json", "json-csr"})


def refused(field: str, why: str, advice: str) -> Rejected:
    """Return the refusal of a setting, which the message names."""
    return Rejected(f"{field} {why}", "malformed", advice=advice)


def _require_plain(field: str, value: object) -> None:
    if isinstance(value, Words) and len(value) > _LONGEST_LIST:
        raise refused(field, f"has more than {_LONGEST_LIST} entries", "make several roles")
    if field in UNSUPPORTED and value != getattr(PLAIN, field):
        raise refused(field, "is not supported", UNSUPPORTED[field])


def require_supported(name: str, body: RoleBody) -> None:
    """Refuse settings that would not be held, and those that could never be meant.

    Raises:
        Rejected: malformed; the message names the setting.
    """
    for field in RoleBody.__struct_fields__:
        _require_plain(field, getattr(body, field))
    if body.name not in {"", name}:
        raise refused("name", "is not the name in the path", "leave it out")
    if body.serial_number_source not in _SERIAL_NUMBER_SOURCES:
        raise refused("serial_number_source", "is not supported", _SUBJECT)
    if not body.cn_validations or {item.lower() for item in body.cn_validations} - {"email", "hostname"}:
        raise refused("cn_validations", "is not supported so", "a common name is always checked: leave it out")
    if body.use_csr_common_name != body.use_csr_sans:
        advice = "set both, to take the names from the request, or neither, to take them from the other parameters"
        raise refused("use_csr_common_name", "differs from use_csr_sans", advice)
    if body.not_before_duration.whole > HOUR:
        raise refused("not_before_duration", "is more than an hour", "set the clocks of the clients instead")
    if body.ttl.whole > body.longest:
        raise refused("ttl", "is longer than max_ttl", "raise max_ttl, or lower ttl")
