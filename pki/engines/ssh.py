"""The wire of the SSH authority: config/ca, roles, sign, and the CAs' public keys for everybody."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import msgspec

from hsm.algorithms import KeyAlgorithm
from pki.errors import Malformed, Rejected
from pki.operations.call import Call, Reply, keys
from pki.operations.declare import Engine, NoBody, Verb, operation
from pki.operations.wire import Pairs, Span, Words
from pki.ssh.authority import SshAuthority
from pki.ssh.certificates import HOST, USER
from pki.ssh.issuers import DEFAULT_ALGORITHM, KINDS, SshIssuer
from pki.ssh.role import DEFAULT_KEY_ID, DEFAULT_LIFETIMES, Role
from pki.ssh.sign import Asker, Wish
from pki.storage.database import Tx

_ALGORITHMS: Mapping[tuple[str, int], KeyAlgorithm] = MappingProxyType(
    {
        ("", 0): DEFAULT_ALGORITHM,
        ("ed25519", 0): KeyAlgorithm.ED25519,
        ("ec", 0): KeyAlgorithm.EC_P256,
        ("ec", 256): KeyAlgorithm.EC_P256,
        ("ec", 384): KeyAlgorithm.EC_P384,
        ("rsa", 0): KeyAlgorithm.RSA_4096,
        ("rsa", 2048): KeyAlgorithm.RSA_2048,
        ("rsa", 3072): KeyAlgorithm.RSA_3072,
        ("rsa", 4096): KeyAlgorithm.RSA_4096,
    }
)
_CA_TYPES = {
    "ssh-ed25519": "ed25519",
    "ecdsa": "ec",
    "ecdsa-sha2-nistp256": "ec",
    "ecdsa-sha2-nistp384": "ec",
    "ssh-rsa": "rsa",
    "rsa-sha2-512": "rsa",
}
_KEY_KINDS: Mapping[str, tuple[str, tuple[int, ...]]] = MappingProxyType(
    {
        "rsa": ("rsa", ()),
        "ssh-rsa": ("rsa", ()),
        "ec": ("ec", ()),
        "ecdsa": ("ec", ()),
        "ecdsa-sha2-nistp256": ("ec", (256,)),
        "ecdsa-sha2-nistp384": ("ec", (384,)),
        "ecdsa-sha2-nistp521": ("ec", (521,)),
        "ed25519": ("ed25519", ()),
        "ssh-ed25519": ("ed25519", ()),
        "sk-ec": ("sk-ec", ()),
        "sk-ecdsa-sha2-nistp256@openssh.com": ("sk-ec", ()),
        "sk-ed25519": ("sk-ed25519", ()),
        "sk-ssh-ed25519@openssh.com": ("sk-ed25519", ()),
    }
)
_NO_CERTIFICATES_ASKED = "set allow_user_certificates, or allow_host_certificates"
_WARNING = "whoever may use this role can ask for any name: bind it to few policies, or name who it is for"


class CaRequest(msgspec.Struct, frozen=True):
    """What a mount's CA keys shall be; nothing is needed."""

    generate_signing_key: bool = True
    key_type: str = ""
    key_bits: int = 0
    private_key: str = ""
    public_key: str = ""


class RoleRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role, by the names that clients of the Vault HTTP API use; it replaces what there was.

    A setting that is not known is refused: a rule that was misspelt would not hold.
    """

    name: str = ""
    key_type: str = "ca"
    allow_user_certificates: bool = False
    allow_host_certificates: bool = False
    allowed_users: Words = Words()
    default_user: str = ""
    allowed_domains: Words = Words()
    allow_bare_domains: bool = False
    allow_subdomains: bool = False
    ttl: Span = Span(0)
    max_ttl: Span = Span(0)
    not_before_duration: Span | None = None
    allowed_extensions: Words = Words()
    default_extensions: Pairs = msgspec.field(default_factory=Pairs)
    allowed_critical_options: Words = Words()
    default_critical_options: Pairs = msgspec.field(default_factory=Pairs)
    key_id_format: str = ""
    allow_user_key_ids: bool = False
    allowed_user_key_lengths: dict[str, int | list[int]] | None = None
    algorithm_signer: str = ""
    allow_empty_principals: bool = False
    allowed_users_template: bool = False
    allowed_domains_template: bool = False
    default_user_template: bool = False
    default_extensions_template: bool = False
    cidr_list: str = ""
    exclude_cidr_list: str = ""
    # Settings of one-time passwords, which hvac sends with every role: they mean nothing to a certificate.
    key: str = ""
    admin_user: str = ""
    port: int = 0
    key_bits: int = 0
    install_script: str = ""
    key_option_specs: str = ""


class SignRequest(msgspec.Struct, frozen=True):
    """A public key, as a line of id_ed25519.pub, and what its certificate shall say."""

    public_key: str = ""
    valid_principals: Words = Words()
    cert_type: str = USER
    ttl: Span = Span(0)
    extensions: Pairs = msgspec.field(default_factory=Pairs)
    critical_options: Pairs = msgspec.field(default_factory=Pairs)
    key_id: str = ""


class SshEngine(Engine):
    """OpenSSH certificates for people and hosts, signed by CA keys in the HSM."""

    type: ClassVar[str] = "ssh"

    def __init__(self, ssh: SshAuthority) -> None:
        self._ssh = ssh

    @operation(Verb.UPDATE, "config/ca", CaRequest)
    def create_ca(self, call: Call, body: CaRequest) -> Reply:
        """Generate the mount's CA keys, one for users and one for hosts, in the HSM."""
        if body.private_key or body.public_key or not body.generate_signing_key:
            raise Malformed("a CA key is generated in the HSM and never enters it", advice="send no private_key")
        algorithm = _algorithm(body)
        missing = [kind for kind in KINDS if self._ssh.issuers.find(call.mount, kind) is None]

        def recording(tx: Tx, issuer: SshIssuer) -> None:
            call.record(tx, issuer=issuer.id, kind=issuer.kind, key=issuer.line)

        for kind in missing or KINDS:  # where none is missing, making one says so
            self._ssh.issuers.create(call.mount, kind, algorithm, recording)
        return self.read_ca(call, NoBody())

    @operation(Verb.READ, "config/ca")
    def read_ca(self, call: Call, body: NoBody) -> Reply:
        """Read the CA keys' public halves."""
        del body
        user, host = (self._ssh.issuers.get(call.mount, kind) for kind in KINDS)
        return Reply({"public_key": user.line, "host_public_key": host.line, "key_algorithm": user.algorithm})

    @operation(Verb.DELETE, "config/ca")
    def delete_ca(self, call: Call, body: NoBody) -> Reply:
        """Refuse: CA keys are not deleted."""
        del call, body
        raise Rejected("a CA key stays as long as its mount", "unsupported", advice="make another mount")

    @operation(Verb.READ, "public_key", open=True)
    def read_public_key(self, call: Call, body: NoBody) -> Reply:
        """Read the users' CA key, as sshd's TrustedUserCAKeys takes it."""
        del body
        return self._raw(call, USER)

    @operation(Verb.READ, "host_public_key", open=True)
    def read_host_public_key(self, call: Call, body: NoBody) -> Reply:
        """Read the hosts' CA key, as known_hosts takes it after @cert-authority."""
        del body
        return self._raw(call, HOST)

    def _raw(self, call: Call, kind: str) -> Reply:
        return Reply(raw=("text/plain", f"{self._ssh.issuers.get(call.mount, kind).line}\n".encode()))

    def has_role(self, call: Call, body: RoleRequest, role: str) -> bool:
        """Tell whether a write to the role changes one that there is."""
        del body
        return self._ssh.roles.find(call.mount, role) is not None

    @operation(Verb.UPDATE, "roles/<role>", RoleRequest, exists=has_role)
    def write_role(self, call: Call, body: RoleRequest, role: str) -> Reply | None:
        """Write a role."""
        made = made_role(body)

        def work(tx: Tx) -> None:
            self._ssh.roles.set(tx, call.mount, role, made)
            call.record(tx, role=_described(made))

        self._ssh.database.write(work)
        return Reply(warnings=(_WARNING,)) if made.allows_anybody else None

    @operation(Verb.READ, "roles/<role>")
    def read_role(self, call: Call, body: NoBody, role: str) -> Reply:
        """Read a role."""
        del body
        return Reply(_described(self._ssh.roles.get(call.mount, role)))

    @operation(Verb.DELETE, "roles/<role>")
    def delete_role(self, call: Call, body: NoBody, role: str) -> None:
        """Delete a role; certificates made by it live on."""
        del body

        def work(tx: Tx) -> None:
            self._ssh.roles.delete(tx, call.mount, role)
            call.record(tx)

        self._ssh.database.write(work)

    @operation(Verb.LIST, "roles")
    def list_roles(self, call: Call, body: NoBody) -> Reply:
        """List the roles."""
        del body
        return keys(self._ssh.roles.names(call.mount), None)

    @operation(Verb.UPDATE, "sign/<role>", SignRequest)
    def sign(self, call: Call, body: SignRequest, role: str) -> Reply:
        """Sign a public key: the certificate lets its holder in as the principals, for a while."""
        if body.cert_type not in KINDS:
            raise Malformed("cert_type is user or host")
        wish = Wish(
            role=role,
            kind=body.cert_type,
            public_key=body.public_key,
            valid_principals=body.valid_principals,
            lifetime=body.ttl or None,
            extensions=body.extensions,
            critical_options=body.critical_options,
            key_id=body.key_id,
        )
        asker = Asker(call.actor, call.caller().display_name)
        issued = self._ssh.gate.issue(call.mount, wish, asker, lambda tx, facts: call.record(tx, **facts))
        return Reply({"serial_number": f"{issued.serial:x}", "signed_key": f"{issued.line}\n"})

    @operation(Verb.UPDATE, "issue/<role>")
    def issue(self, call: Call, body: NoBody, role: str) -> Reply:
        """Refuse: no private key is made here for somebody else."""
        del call, body
        raise Rejected(
            "a private key is made where it is used, and never sent", "unsupported", advice=f"use sign/{role}"
        )

    @operation(Verb.UPDATE, "creds/<role>")
    def create_otp(self, call: Call, body: NoBody, role: str) -> Reply:
        """Refuse: there are no one-time passwords for SSH."""
        del call, body
        raise _unsupported("one-time passwords", f"use a certificate: sign/{role}")

    @operation(Verb.UPDATE, "verify")
    def verify_otp(self, call: Call, body: NoBody) -> Reply:
        """Refuse: there are no one-time passwords for SSH."""
        del call, body
        raise _unsupported("one-time passwords", "set TrustedUserCAKeys in sshd_config")


def _unsupported(what: str, advice: str) -> Rejected:
    return Rejected(f"{what} are not supported", "unsupported", advice=advice)


def _algorithm(body: CaRequest) -> KeyAlgorithm:
    named = next((item for item in KeyAlgorithm if item.value == body.key_type), None)
    if named is not None and named in _ALGORITHMS.values() and not body.key_bits:
        return named
    kind = _CA_TYPES.get(body.key_type, body.key_type)
    bits = body.key_bits or (384 if body.key_type.endswith("nistp384") else 0)
    found = _ALGORITHMS.get((kind, bits))
    if found is None:
        raise Malformed(
            f"no CA key of type {body.key_type[:32]!a} with {body.key_bits} bits is made",
            advice="key_type is ed25519, ec (key_bits 256 or 384) or rsa (2048, 3072 or 4096)",
        )
    return found


def made_role(body: RoleRequest) -> Role:
    """Return the role that a request describes, not yet checked for sense.

    Raises:
        Malformed, Rejected: it cannot be read, or asks for what is not supported.
    """
    _refuse_unsupported(body)
    if body.allow_user_certificates == body.allow_host_certificates:
        both = "a role is for users or for hosts, whose CA keys differ"
        raise Rejected(both, "badRole", advice=_NO_CERTIFICATES_ASKED)
    kind = HOST if body.allow_host_certificates else USER
    default = DEFAULT_LIFETIMES[kind]
    ttl = body.ttl.whole or min(default, body.max_ttl.whole or default)
    return Role(
        kind="host" if body.allow_host_certificates else "user",
        allowed_users=body.allowed_users,
        default_user=body.default_user,
        allowed_domains=body.allowed_domains,
        bare_domains=body.allow_bare_domains,
        subdomains=body.allow_subdomains,
        ttl=ttl,
        max_ttl=body.max_ttl.whole or max(default, ttl),
        extensions=body.allowed_extensions,
        default_extensions=body.default_extensions,
        critical_options=body.allowed_critical_options,
        default_critical_options=body.default_critical_options,
        key_id_format=body.key_id_format or DEFAULT_KEY_ID,
        allow_key_ids=body.allow_user_key_ids,
        keys=_key_kinds(body.allowed_user_key_lengths or {}),
        **({} if body.not_before_duration is None else {"backdate": body.not_before_duration.whole}),
    )


def _refuse_unsupported(body: RoleRequest) -> None:
    if body.key_type != "ca":
        raise _unsupported(f"roles of key_type {body.key_type[:32]!a}", "use key_type ca")
    for name in ("allowed_users", "allowed_domains", "default_user", "default_extensions"):
        if getattr(body, f"{name}_template"):
            raise _unsupported(f"templates in {name} ({name}_template)", "name them, in a role for each")
    if body.allow_empty_principals:
        raise _unsupported("certificates without principals (allow_empty_principals)", "name them in allowed_users")
    if body.cidr_list or body.exclude_cidr_list:
        raise _unsupported("cidr_list and exclude_cidr_list", "use the critical option source-address")
    if body.key or body.admin_user or body.install_script or body.key_option_specs:
        raise _unsupported("key, admin_user, install_script and key_option_specs", "leave them out")
    if body.algorithm_signer not in {"", "default", "rsa-sha2-512"}:
        raise _unsupported(f"signatures by {body.algorithm_signer[:32]!a}", "an RSA CA signs with rsa-sha2-512 alone")


def _key_kinds(lengths: Mapping[str, int | Sequence[int]]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name, given in lengths.items():
        if name not in _KEY_KINDS:
            raise Malformed(f"there is no kind of key {name[:64]!a}", advice="use rsa, ec, ed25519, sk-ec, sk-ed25519")
        kind, sizes = _KEY_KINDS[name]
        wanted = [given] if isinstance(given, int) else given
        found[kind] = (*found.get(kind, ()), *(sizes or (size for size in wanted if size)))
    return found


def _described(role: Role) -> dict[str, Any]:
    return {
        "key_type": "ca",
        "algorithm_signer": "default",
        "allow_user_certificates": role.kind == USER,
        "allow_host_certificates": role.kind == HOST,
        "allowed_users": ",".join(role.allowed_users),
        "default_user": role.default_user,
        "allowed_domains": ",".join(role.allowed_domains),
        "allow_bare_domains": role.bare_domains,
        "allow_subdomains": role.subdomains,
        "ttl": role.ttl,
        "max_ttl": role.max_ttl,
        "not_before_duration": role.backdate,
        "allowed_extensions": ",".join(role.extensions),
        "default_extensions": role.default_extensions,
        "allowed_critical_options": ",".join(role.critical_options),
        "default_critical_options": role.default_critical_options,
        "key_id_format": role.key_id_format,
        "allow_user_key_ids": role.allow_key_ids,
        "allowed_user_key_lengths": {name: list(sizes) for name, sizes in role.keys.items()},
    }
