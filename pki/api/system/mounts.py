"""The mount table: `sys/mounts` for secrets engines, and `sys/auth` for auth methods."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pki.api.errors import PERMISSION_DENIED
from pki.api.system.family import Family
from pki.errors import Denied, NotFound, Rejected
from pki.mounts import AUTH, BUILTIN, SECRET, Mount
from pki.operations.call import Call, Reply
from pki.operations.declare import Engine, NoBody, Verb, operation
from pki.operations.wire import Pairs, Span, Words
from pki.storage.database import Tx

_AUTH = "auth/"
_ALIASES: Mapping[str, tuple[str, Mapping[str, str]]] = {"kv-v2": ("kv", {"version": "2"})}
"""Types that are another type with an option."""
_ALWAYS_THERE = frozenset(mount.type for mount in BUILTIN)
"""Types that are mounted once, and not a second time."""


class Tuning(msgspec.Struct, frozen=True):
    """What every mount can be tuned in. A span that is given as 0 is that of the service.

    The members from `force_no_cache` on are refused unless they ask for nothing.
    """

    default_lease_ttl: Span | None = None
    max_lease_ttl: Span | None = None
    description: str | None = None
    options: Pairs | None = None
    force_no_cache: bool = False
    listing_visibility: str = ""
    token_type: str = ""
    passthrough_request_headers: Words = Words()
    allowed_response_headers: Words = Words()

    def refuse_unsupported(self) -> None:
        """Refuse what is not done here.

        Raises:
            Rejected: it is named.
        """
        asked = {
            "force_no_cache": self.force_no_cache,
            "listing_visibility": self.listing_visibility not in {"", "hidden"},
            "token_type": self.token_type not in {"", "default-service", "service"},
            "passthrough_request_headers": bool(self.passthrough_request_headers),
            "allowed_response_headers": bool(self.allowed_response_headers),
        }
        _refuse(asked)

    def spans(self) -> dict[str, int]:
        """Return the spans that are given, in seconds."""
        given = {"default_lease_ttl": self.default_lease_ttl, "max_lease_ttl": self.max_lease_ttl}
        return {name: span.whole for name, span in given.items() if span is not None}


class NewMount(msgspec.Struct, frozen=True):
    """What to mount: the `type` of an engine, and how it is tuned."""

    type: str = ""
    description: str = ""
    config: Tuning | None = None
    options: Pairs | None = None
    local: bool = False
    seal_wrap: bool = False
    external_entropy_access: bool = False


def _refuse(asked: Mapping[str, bool]) -> None:
    for name, is_asked in asked.items():
        if is_asked:
            raise Rejected(f"{name} is not supported for mounts", "unsupported", advice=f"leave {name} out")


def _refuse_idle_spans(engine: Engine, tuning: Tuning) -> None:
    """Refuse a limit that nothing would keep to: who sets one relies on it."""
    for name, seconds in tuning.spans().items():
        if seconds and not engine.keeps_to_spans:
            message = f"{name} has no effect on a mount of type {engine.type}"
            raise Rejected(message, "unsupported", advice="leave it out, or 0; lifetimes are bounded by roles")


def view(mount: Mount) -> dict[str, Any]:
    """Return a mount as clients of the Vault HTTP API expect it."""
    return {
        "accessor": f"{mount.type}_{mount.id[:8]}",
        "config": _config(mount),
        "description": mount.description,
        "external_entropy_access": False,
        "local": False,
        "options": dict(mount.options) or None,
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "seal_wrap": False,
        "type": mount.type,
        "uuid": mount.id,
    }


def _config(mount: Mount) -> dict[str, Any]:
    config: dict[str, Any] = {"default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": False, **mount.tuning}
    return {**config, "token_type": "default-service"} if mount.kind == AUTH else config


def _shown(mount: Mount) -> str:
    """Return the path as lists show it: that of an auth method without `auth/`."""
    return mount.path.removeprefix(_AUTH) if mount.kind == AUTH else mount.path


class MountTable(Family):
    """Keeps the mount table."""

    @operation(Verb.READ, "mounts")
    def list_mounts(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002 - every operation takes a body
        """List the secrets engines that are mounted."""
        return self._listed(frozenset({SECRET, "system"}))

    @operation(Verb.READ, "auth")
    def list_auth_methods(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """List the auth methods that are mounted."""
        return self._listed(frozenset({AUTH}))

    @operation(Verb.READ, "mounts/<path:path>")
    def read_mount(self, call: Call, body: NoBody, path: str) -> Reply:  # noqa: ARG002
        """Read how a secrets engine is mounted."""
        return self._read(f"{path}/")

    @operation(Verb.READ, "auth/<path:path>")
    def read_auth_method(self, call: Call, body: NoBody, path: str) -> Reply:  # noqa: ARG002
        """Read how an auth method is mounted."""
        return self._read(f"{_AUTH}{path}/")

    @operation(Verb.UPDATE, "mounts/<path:path>", NewMount)
    def add_mount(self, call: Call, body: NewMount, path: str) -> None:
        """Mount a secrets engine at a path."""
        self._add(call, body, path, SECRET)

    @operation(Verb.UPDATE, "auth/<path:path>", NewMount, sudo=True)
    def add_auth_method(self, call: Call, body: NewMount, path: str) -> None:
        """Mount an auth method at a path below `auth/`."""
        self._add(call, body, _AUTH + path, AUTH)

    @operation(Verb.DELETE, "mounts/<path:path>")
    def remove_mount(self, call: Call, body: NoBody, path: str) -> None:  # noqa: ARG002
        """Remove a secrets engine; what it kept can be read no more."""
        self._remove(call, f"{path}/")

    @operation(Verb.DELETE, "auth/<path:path>", sudo=True)
    def remove_auth_method(self, call: Call, body: NoBody, path: str) -> None:  # noqa: ARG002
        """Remove an auth method, and with it every token that it gave."""
        self._remove(call, f"{_AUTH}{path}/")

    @operation(Verb.READ, "mounts/<path:path>/tune")
    def read_tuning(self, call: Call, body: NoBody, path: str) -> Reply:  # noqa: ARG002
        """Read how a secrets engine is tuned."""
        return self._read_tuning(f"{path}/")

    @operation(Verb.READ, "auth/<path:path>/tune")
    def read_auth_tuning(self, call: Call, body: NoBody, path: str) -> Reply:  # noqa: ARG002
        """Read how an auth method is tuned."""
        return self._read_tuning(f"{_AUTH}{path}/")

    @operation(Verb.UPDATE, "mounts/<path:path>/tune", Tuning)
    def tune_mount(self, call: Call, body: Tuning, path: str) -> None:
        """Tune a secrets engine; what is left out stays."""
        self._tune(call, body, f"{path}/")

    @operation(Verb.UPDATE, "auth/<path:path>/tune", Tuning, sudo=True)
    def tune_auth_method(self, call: Call, body: Tuning, path: str) -> None:
        """Tune an auth method; what is left out stays."""
        self._tune(call, body, f"{_AUTH}{path}/")

    @operation(Verb.READ, "internal/ui/mounts", open=True)
    def list_visible_mounts(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """List the mounts below which the caller's token, if there is one, may do anything at all."""
        policies = self._policies_of(call)
        seen: dict[str, dict[str, Any]] = {"auth": {}, "secret": {}}
        for mount in self._rooms.mounts.all() if policies else ():
            if self._reaches(policies, mount):
                is_auth = mount.kind == AUTH
                seen["auth" if is_auth else "secret"][_shown(mount)] = view(mount)
        return Reply(seen)

    @operation(Verb.READ, "internal/ui/mounts/<path:path>", open=True)
    def read_visible_mount(self, call: Call, body: NoBody, path: str) -> Reply:  # noqa: ARG002
        """Read which mount serves a path, as command lines do before they use it."""
        policies = self._policies_of(call)
        if not policies:
            raise Denied(PERMISSION_DENIED)
        found = self._rooms.mounts.match(f"{path}/")
        if found is None or not self._reaches(policies, found[0]):
            message = "preflight capability check returned 403, please ensure client's policies grant access to path"
            raise Denied(f'{message} "{path}/"')
        return Reply({**view(found[0]), "path": found[0].path})

    def _policies_of(self, call: Call) -> tuple[str, ...]:
        """Return the policies of the token that was sent along; this counts no use of it."""
        try:
            return self._rooms.tokens.lookup_token(call.client_token or "").policies
        except NotFound:
            return ()

    def _reaches(self, policies: tuple[str, ...], mount: Mount) -> bool:
        return self._rooms.policies.acl(policies).reaches(mount.path)

    def _listed(self, kinds: frozenset[str]) -> Reply:
        found = [mount for mount in self._rooms.mounts.all() if mount.kind in kinds]
        return Reply({_shown(mount): view(mount) for mount in found}, also_flat=True)

    def _read(self, path: str) -> Reply:
        return Reply(view(self._rooms.mounts.get(path)), also_flat=True)

    def _read_tuning(self, path: str) -> Reply:
        mount = self._rooms.mounts.get(path)
        data = {**_config(mount), "description": mount.description, "options": dict(mount.options) or None}
        return Reply(data, also_flat=True)

    def _engine(self, name: str, kind: str) -> Engine:
        engine = self._rooms.engines.get(name)
        if engine is None or engine.kind != kind or name in _ALWAYS_THERE:
            known = sorted({item.type for item in self._rooms.engines.values() if item.kind == kind} - _ALWAYS_THERE)
            word = "auth method" if kind == AUTH else "secrets engine"
            message = f"there is no {word} of type {name!a}" if name else "which type?"
            raise Rejected(message, "unsupported", advice=f"the types are {', '.join(known)}")
        return engine

    def _add(self, call: Call, body: NewMount, path: str, kind: str) -> None:
        _refuse({name: getattr(body, name) for name in ("local", "seal_wrap", "external_entropy_access")})
        config = body.config or Tuning()
        config.refuse_unsupported()
        name, implied = _ALIASES.get(body.type, (body.type, {}))
        options = {**(body.options or {}), **implied}
        engine = self._engine(name, kind)
        engine.check_options(options)
        _refuse_idle_spans(engine, config)
        path = f"{path}/"

        def work(tx: Tx) -> None:
            description = body.description or config.description or ""
            spans = config.spans()
            add = self._rooms.mounts.add
            add(tx, path=path, kind=kind, type=name, description=description, options=options, tuning=spans)
            call.record(tx, mount=path, type=name, options=options, tuning=spans)

        self._rooms.database.write(work)

    def _tune(self, call: Call, body: Tuning, path: str) -> None:
        body.refuse_unsupported()
        options, spans = dict(body.options or {}), body.spans()
        mount = self._rooms.mounts.get(path)
        engine = self._rooms.engines[mount.type]
        if options:
            engine.check_options({**mount.options, **options})
        _refuse_idle_spans(engine, body)

        def work(tx: Tx) -> None:
            self._rooms.mounts.tune(tx, path, description=body.description, options=options, tuning=spans)
            call.record(tx, mount=path, options=options, tuning=spans)

        self._rooms.database.write(work)

    def _remove(self, call: Call, path: str) -> None:
        """Remove a mount; one that is not there is removed already. Tokens of an auth method end with it."""

        def work(tx: Tx) -> None:
            try:
                removed = self._rooms.mounts.remove(tx, path)
            except NotFound:
                call.record(tx, mount=path, found=False)
                return
            ended = self._rooms.tokens.revoke_below(tx, path) if removed.kind == AUTH else 0
            kept = self._rooms.engines[removed.type].forget(tx, removed) if removed.type in self._rooms.engines else 0
            call.record(tx, mount=path, type=removed.type, tokens_revoked=ended, objects_removed=kept)

        self._rooms.database.write(work)
