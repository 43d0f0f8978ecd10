"""A role: what one kind of asker may have in an SSH certificate. What it does not allow is refused, never trimmed."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Literal

import msgspec

from pki.errors import Rejected
from pki.ssh import rules
from pki.ssh.certificates import HOST
from pki.ssh.keys import KINDS, SubjectKey

ANYBODY = "*"
"""As the only login name or domain of a role: any. It is never one in a certificate."""
DEFAULT_LIFETIMES: Mapping[str, int] = MappingProxyType({"user": 3600, "host": 7 * 86400})
"""In seconds; only a role that says so goes beyond (CA56)."""
DEFAULT_KEY_ID = "{{token_display_name}}-{{role_name}}-{{public_key_hash}}"

_LONGEST = 100 * 366 * 86400
_LONGEST_BACKDATE = 3600
_PLACES = ("{{token_display_name}}", "{{role_name}}", "{{public_key_hash}}")


class Role(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for one use of a mount's CA of users, or of that of hosts: never of both (H5).

    `allowed_users` are login names, or ANYBODY alone; `allowed_domains` are hosts' names, themselves with
    `bare_domains` and what is below them with `subdomains`. `ttl`, `max_ttl` and `backdate` are in seconds.
    `default_extensions` are given to who asks for none; `default_critical_options` to everybody, whatever he asks.
    `keys` names the kinds of keys, each with the sizes in bits that are taken, none meaning any; no kinds at all
    means every kind.
    """

    kind: Literal["user", "host"]
    allowed_users: tuple[str, ...] = ()
    default_user: str = ""
    allowed_domains: tuple[str, ...] = ()
    bare_domains: bool = False
    subdomains: bool = False
    ttl: int
    max_ttl: int
    backdate: int = 30
    extensions: tuple[str, ...] = ()
    default_extensions: dict[str, str] = {}
    critical_options: tuple[str, ...] = ()
    default_critical_options: dict[str, str] = {}
    key_id_format: str = DEFAULT_KEY_ID
    allow_key_ids: bool = False
    keys: dict[str, tuple[int, ...]] = {}

    def check(self) -> None:
        """Refuse a role that could never be meant.

        Raises:
            Rejected: badRole, or what is wrong with a name or option in it.
        """
        if self.kind == HOST:
            self._check_host()
        else:
            self._check_user()
        if not 1 <= self.ttl <= self.max_ttl <= _LONGEST:
            raise _bad("ttl is a second or more, and max_ttl no less than that", "leave both out for the defaults")
        if not 0 <= self.backdate <= _LONGEST_BACKDATE:
            raise _bad(f"not_before_duration is {_LONGEST_BACKDATE} seconds at most")
        self._check_key_ids()
        self._check_keys()

    def _check_key_ids(self) -> None:
        rest = self.key_id_format
        for place in _PLACES:
            rest = rest.replace(place, "x")
        if "{{" in rest or "}}" in rest:
            raise _bad("key_id_format has a place that is not known", f"there are {', '.join(_PLACES)}")
        rules.check_key_id(rest)

    def _check_keys(self) -> None:
        unknown = self.keys.keys() - set(KINDS)
        if unknown:
            raise _bad(f"there are no keys of kind {', '.join(sorted(unknown))}", f"there are {', '.join(KINDS)}")

    def _check_user(self) -> None:
        if self.allowed_domains or self.bare_domains or self.subdomains:
            raise _bad("domains are for roles of hosts", "name login names in allowed_users")
        if not self.allowed_users and not self.default_user:
            raise _bad("the role allows no login name", "name some in allowed_users")
        for name in self.allowed_users:
            if self.allowed_users != (ANYBODY,):
                rules.check_login_name(name)
        if self.default_user:
            rules.check_login_name(self.default_user)
        rules.check_extensions(dict.fromkeys(self.extensions, ""))
        vendors = [name for name in self.extensions if name not in rules.EXTENSIONS]
        if vendors:
            # Its value would be the asker's to choose: login@github.com is a person.
            raise _bad(
                f"{vendors[0]} says who somebody is, so its value is the role's to give", "put it in default_extensions"
            )
        rules.check_extensions(self.default_extensions)
        rules.check_critical_options(self.default_critical_options)
        unknown = set(self.critical_options) - rules.CRITICAL_OPTIONS
        if unknown:
            raise _bad(f"there is no critical option {min(unknown)[:64]!a}")

    def _check_host(self) -> None:
        if self.allowed_users or self.default_user:
            raise _bad("login names are for roles of users", "name hosts in allowed_domains")
        if self.extensions or self.default_extensions or self.critical_options or self.default_critical_options:
            raise _bad("certificates of hosts have no extensions and no critical options")
        if not self.allowed_domains or not (self.bare_domains or self.subdomains or self._is_any_host):
            raise _bad(
                "the role allows no host",
                "name some in allowed_domains, and set allow_bare_domains or allow_subdomains",
            )
        for name in self.allowed_domains:
            if not self._is_any_host:
                rules.check_host_name(name)

    @property
    def _is_any_host(self) -> bool:
        return self.allowed_domains == (ANYBODY,)

    @property
    def allows_anybody(self) -> bool:
        """Whether it bounds no names."""
        return ANYBODY in (*self.allowed_users, *self.allowed_domains)

    def check_key(self, key: SubjectKey) -> None:
        """Refuse a kind or size of key that the role does not list.

        Raises:
            Rejected: weakKey.
        """
        sizes = self.keys.get(key.kind)
        if self.keys and (sizes is None or (sizes and key.bits not in sizes)):
            allowed = ", ".join(f"{name} {'/'.join(map(str, taken))}".strip() for name, taken in self.keys.items())
            raise Rejected(
                f"the role takes no key of kind {key.kind} with {key.bits} bits",
                "weakKey",
                advice=f"it takes {allowed}",
            )

    def principals(self, asked: Sequence[str]) -> tuple[str, ...]:
        """Return the names in the certificate: those asked for, or the role's own login name; never none (H1).

        Raises:
            Rejected: rejectedIdentifier.
        """
        names = tuple(asked) or ((self.default_user,) if self.default_user else ())
        if not names:
            raise Rejected(
                "no certificate is made without principals: it would be for everybody",
                "rejectedIdentifier",
                advice="ask for valid_principals",
            )
        if len(names) > rules.PRINCIPALS_LIMIT or len(set(names)) != len(names):
            raise Rejected(
                f"a certificate has 1 to {rules.PRINCIPALS_LIMIT} principals, each once", "rejectedIdentifier"
            )
        check = rules.check_host_name if self.kind == HOST else rules.check_login_name
        allows = self._allows_host if self.kind == HOST else self._allows_user
        for name in names:
            check(name)
            if not allows(name):
                raise Rejected(
                    f"the role does not allow the principal {name}",
                    "rejectedIdentifier",
                    identifier=name,
                    advice="ask for others, or by another role",
                )
        return names

    def _allows_user(self, name: str) -> bool:
        return name in self.allowed_users or name == self.default_user or self.allowed_users == (ANYBODY,)

    def _allows_host(self, name: str) -> bool:
        if self._is_any_host or (self.bare_domains and name in self.allowed_domains):
            return True
        return self.subdomains and any(name.endswith(f".{domain}") for domain in self.allowed_domains)

    def lifetime(self, asked: timedelta | None) -> timedelta:
        """Return how long the certificate lives from now on, in whole seconds.

        Raises:
            Rejected: badLifetime; more was asked than the role gives.
        """
        seconds = int(asked.total_seconds()) if asked else self.ttl
        if not 1 <= seconds <= self.max_ttl:
            raise Rejected(f"the role gives 1 to {self.max_ttl} seconds, not {seconds}", "badLifetime")
        return timedelta(seconds=seconds)

    def granted_extensions(self, asked: Mapping[str, str]) -> Mapping[str, str]:
        """Return the extensions: those asked for, each of which the role allows, or its own.

        Raises:
            Rejected: badExtension.
        """
        own = self.default_extensions
        self._require_none(asked, "extensions", "badExtension")
        outside = [name for name, value in asked.items() if not self._allows_extension(name, value)]
        if outside:
            allowed = ", ".join(sorted({*self.extensions, *own})) or "none"
            raise Rejected(
                f"the role does not allow the extensions {', '.join(name[:64] for name in outside[:8])!a}",
                "badExtension",
                advice=f"it allows {allowed}; ask for none to have its own",
            )
        return asked or own

    def _allows_extension(self, name: str, value: str) -> bool:
        return (name in self.extensions and not value) or self.default_extensions.get(name) == value

    def granted_critical_options(self, asked: Mapping[str, str]) -> Mapping[str, str]:
        """Return the critical options: the role's own, which nobody can leave out or change, and those asked for.

        Raises:
            Rejected: badCriticalOption.
        """
        own = self.default_critical_options
        self._require_none(asked, "critical options", "badCriticalOption")
        outside = [
            name
            for name, value in asked.items()
            if own.get(name, value if name in self.critical_options else None) != value
        ]
        if outside:
            raise Rejected(
                f"the role does not allow the critical options {', '.join(name[:64] for name in outside[:8])!a}",
                "badCriticalOption",
                advice=f"it allows {', '.join(sorted({*self.critical_options, *own})) or 'none'}",
            )
        rules.check_critical_options(asked)
        return {**asked, **own}

    def _require_none(self, asked: Mapping[str, str], what: str, code: str) -> None:
        if asked and self.kind == HOST:
            raise Rejected(f"certificates of hosts have no {what}", code)

    def key_id(self, asked: str, *, role: str, display_name: str, key: SubjectKey) -> str:
        """Return the key id, by which sshd's log names the certificate.

        Raises:
            Rejected: badKeyId; it is not for the asker to choose, or would not do.
        """
        if asked and not self.allow_key_ids:
            raise Rejected("the role does not let its askers choose the key id", "badKeyId", advice="ask for none")
        made = asked or self.key_id_format.replace("{{public_key_hash}}", key.sha256.hex()).replace(
            "{{role_name}}", role
        ).replace("{{token_display_name}}", display_name)
        rules.check_key_id(made)
        return made


def _bad(message: str, advice: str = "") -> Rejected:
    return Rejected(message, "badRole", advice=advice)
