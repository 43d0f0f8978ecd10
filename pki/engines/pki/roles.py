"""Roles and the profiles that are made from them.

What a role says is turned into the rules of a profile when it is written, and kept beside them to be read back. A
restriction that is stored holds, or is not stored.
"""

from typing import Any

import msgspec

from pki.authority.profiles import DEFAULT_PROFILE, Profile
from pki.engines.pki import rules
from pki.engines.pki.rules import ANY
from pki.engines.pki.settings import PLAIN, UNSUPPORTED, Role, RoleBody, refused, require_supported
from pki.engines.pki.uses import check_key_usage, extended_usages
from pki.errors import Malformed, Misconfigured
from pki.operations.wire import Span, Words, decode

DOOR = "api"
"""The door whose requests this engine serves; profiles name the doors that they serve."""
DEFAULT_ISSUER = DEFAULT_PROFILE.issuer
"""The name of the issuer that a role means which names none."""
_DOORS = ("acme", DOOR)


def profile_of(name: str, body: RoleBody, issuer: str, doors: tuple[str, ...]) -> Profile:
    """Return the profile that a role makes; `issuer` is the name of the one it means, `doors` those it serves so far.

    Raises:
        Rejected: malformed: a setting is not supported, or could never be meant; the message names it.
    """
    require_supported(name, body)
    wanted = doors if body.doors is None else tuple(body.doors)
    if set(wanted) - set(_DOORS):
        raise refused("doors", "names a door that there is not", f"the doors are {', '.join(_DOORS)}")
    keys, least_rsa_bits = rules.keys(body)
    check_key_usage(body.key_usage, takes_rsa="rsa" in keys)
    return Profile(
        name=name,
        issuer=issuer,
        doors=wanted,
        dns=tuple(dict.fromkeys(rules.patterns(body))),
        wildcards=body.allow_wildcard_certificates,
        ip=rules.networks(body),
        email=tuple(rules.domain_in("allowed_email_domains", item) for item in body.allowed_email_domains),
        uri=tuple(rules.beginnings(body)),
        exact_uri=tuple(rules.whole_uris(body)),
        keys=keys,
        least_rsa_bits=least_rsa_bits,
        lifetime=body.longest,
        backdate=body.not_before_duration.whole,
        subject="common-name",
        extended_key_usage=extended_usages(rules.flagged(body), body.ext_key_usage, body.ext_key_usage_oids),
        certificate_policies=rules.policies(body),
        role=_kept(body),
    )


def role_of(profile: Profile) -> Role:
    """Return the role that a profile is; of one that was not made from a role, what comes next to it.

    Raises:
        Misconfigured: what is stored is no role of this version.
    """
    if profile.role:
        try:
            return decode(msgspec.json.encode(profile.role), Role)
        except Malformed as error:
            message = f"role {profile.name} version {profile.version} cannot be read: {error.message}"
            raise Misconfigured(message, advice="write it anew") from None
    whole = [item for item in profile.dns if not item.startswith(ANY)]
    below = [item.removeprefix(ANY) for item in profile.dns if item.startswith("**.")]
    usages = set(profile.extended_key_usage)
    return Role(
        issuer_ref=profile.issuer,
        ttl=Span(seconds=profile.lifetime),
        max_ttl=Span(seconds=profile.lifetime),
        not_before_duration=Span(seconds=profile.backdate),
        allowed_domains=Words([*whole, *below]),
        allow_bare_domains=bool(whole),
        allow_glob_domains=bool(below),
        allow_any_name=ANY in profile.dns,
        allow_wildcard_certificates=profile.wildcards,
        allow_ip_sans=bool(profile.ip),
        allowed_ip_sans_cidr=Words(profile.ip),
        allowed_uri_sans=Words([*profile.exact_uri, *(item + ANY for item in profile.uri)]),
        allowed_email_domains=Words(profile.email),
        server_flag="server_auth" in usages,
        client_flag="client_auth" in usages,
        code_signing_flag="code_signing" in usages,
        email_protection_flag="email_protection" in usages,
        policy_identifiers=Words(profile.certificate_policies),
    )


def shown(profile: Profile) -> dict[str, Any]:
    """Return a role as it is read back: what was set, beside what cannot be set to anything else."""
    fixed = {name: _plain(getattr(PLAIN, name)) for name in UNSUPPORTED}
    return {**fixed, **_kept(role_of(profile)), "doors": list(profile.doors), "version": profile.version}


def warnings(profile: Profile) -> list[str]:
    """Return what somebody who writes this role may have overlooked."""
    found = []
    if not (profile.dns or profile.ip or profile.email or profile.uri or profile.exact_uri):
        found.append(
            "this role allows no names, so that it issues nothing: "
            "set allow_bare_domains or allow_subdomains beside allowed_domains, or allow_any_name"
        )
    if DOOR not in profile.doors:
        found.append(f"this role does not serve this API: its doors lack {DOOR}")
    return found


def _kept(role: Role) -> dict[str, Any]:
    return {name: _plain(getattr(role, name)) for name in Role.__struct_fields__}


def _plain(value: object) -> object:
    if isinstance(value, Span):
        return value.whole
    return list(value) if isinstance(value, Words) else value
