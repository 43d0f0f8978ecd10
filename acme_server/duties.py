"""The ACME door's periodic duties."""

from acme_server import challenges, store
from acme_server.door import open_door
from pki.core import Core
from pki.jobs import Duty

_FORGET_SECONDS = 60.0
_RESTART_SECONDS = 10.0


def acme_duties(core: Core) -> list[Duty]:
    """Return what the runner of duties does for this door; validations restarted there run in threads of its own."""
    door = open_door(core)

    def forget() -> None:
        core.database.write(lambda tx: store.forget_nonces(tx, core.clock.now()))

    def restart() -> None:
        challenges.restart_stuck(door)

    return [
        Duty("forget old nonces", _FORGET_SECONDS, forget),
        Duty("restart stuck validations", _RESTART_SECONDS, restart),
    ]
