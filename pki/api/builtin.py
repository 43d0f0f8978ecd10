"""The engines and auth methods that there are: a new one is a file of its own, and a line here."""

from pki.auth.approle import ApproleEngine
from pki.auth.token import TokenEngine
from pki.auth.userpass import UserpassEngine
from pki.core import Core
from pki.engines.kv import Kv
from pki.engines.pki import Pki, Rooms
from pki.engines.ssh import SshEngine
from pki.operations.declare import Engine


def builtin(core: Core) -> dict[str, Engine]:
    """Return every engine by its type, each over the rooms that it needs."""
    engines: list[Engine] = [
        Kv(core.secrets),
        Pki(
            Rooms(
                database=core.database,
                clock=core.clock,
                gate=core.gate,
                profiles=core.profiles,
                issuers=core.issuers,
                revocation=core.revocation,
                crls=core.crls,
            )
        ),
        SshEngine(core.ssh),
        ApproleEngine(core.approles, core.tokens, core.trail),
        UserpassEngine(core.users, core.tokens, core.trail),
        TokenEngine(core.database, core.clock, core.tokens, core.policies),
    ]
    return {engine.type: engine for engine in engines}
