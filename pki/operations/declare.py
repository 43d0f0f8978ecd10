"""Operations and the engines that hold them."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

import msgspec

from pki.errors import Malformed
from pki.mounts import Mount
from pki.storage.database import Tx


class Verb(StrEnum):
    """What is done to a path; the name is that of the capability which a policy must give for it."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    LIST = "list"


class NoBody(msgspec.Struct, frozen=True):
    """The body of an operation that reads none; whatever a client sends is ignored."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb on one pattern of paths below a mount.

    `pattern` is a werkzeug rule without its leading slash: `sign/<name:role>`, `data/<path:path>`. `body` is the
    frozen Struct that the request's body is decoded to. `function` is called as `function(engine, call, body,
    **variables)` and returns a `Reply`, or None for "done, and nothing to say".

    An UPDATE for which `exists` (called as `function` is) returns False needs the capability CREATE instead. With
    `open` no token is asked for: a login, or what is public. With `sudo` the capability sudo is needed too. With
    `private` its path may hold a secret that was typed in the wrong place: the audit log has the pattern instead.
    """

    verb: Verb
    pattern: str
    body: type[msgspec.Struct]
    function: Callable[..., Any]
    exists: Callable[..., bool] | None = None
    open: bool = False
    sudo: bool = False
    private: bool = False

    @property
    def name(self) -> str:
        """The function's name, which the audit log and OpenAPI use."""
        return self.function.__name__

    @property
    def summary(self) -> str:
        """The first line of the function's docstring, without its full stop."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0].rstrip(".")


Function = TypeVar("Function", bound=Callable[..., Any])
_DECLARED = "_declared_operations"


def operation(
    verb: Verb,
    pattern: str,
    body: type[msgspec.Struct] = NoBody,
    *,
    exists: Callable[..., bool] | None = None,
    open: bool = False,  # noqa: A002 - the field's name
    sudo: bool = False,
    private: bool = False,
) -> Callable[[Function], Function]:
    """Declare the method below as an operation; several declarations on one method share it."""

    def declare(function: Function) -> Function:
        declared = Operation(verb, pattern, body, function, exists, open, sudo, private)
        setattr(function, _DECLARED, [declared, *getattr(function, _DECLARED, [])])
        return function

    return declare


class Engine:
    """A secrets engine or an auth method: the operations of a subclass are its decorated methods.

    One object serves every mount of its `type`; `Call.mount` says which. A subclass takes the rooms it needs in its
    constructor. The first line of its docstring describes it to users.
    """

    type: ClassVar[str]
    kind: ClassVar[str] = "secret"
    """What its mounts are: secret, auth or system."""
    keeps_to_spans: ClassVar[bool] = False
    """Whether it keeps to `default_lease_ttl` and `max_lease_ttl` of its mount's tuning; else they are refused."""

    @staticmethod
    def check_options(options: Mapping[str, str]) -> None:
        """Refuse the options of a mount that cannot be served; there are none, but for an engine that says so.

        Raises:
            Malformed: one of them is not known here.
        """
        for name in options:
            raise Malformed(f"there is no option {name!a} for a mount of this type", advice="leave it out")

    def forget(self, tx: Tx, mount: Mount) -> int:
        """Remove what is kept below a mount that is being removed, in that transaction; return how much it was."""
        del tx, mount
        return 0

    @classmethod
    def operations(cls) -> Iterator[Operation]:
        """Yield what the class declares, in the order of its text, base classes first."""
        seen: set[str] = set()
        for owner in reversed(cls.__mro__):
            for name in vars(owner):
                function = getattr(cls, name)
                if name not in seen and hasattr(function, _DECLARED):
                    seen.add(name)
                    yield from getattr(function, _DECLARED)
