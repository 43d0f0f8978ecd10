"""The answer to a login: the same for every auth method."""

from pki.identity.tokens import Made
from pki.operations.call import Auth, Reply


def login_reply(made: Made) -> Reply:
    """Return the answer that hands over a token that was just made, or a longer life of one."""
    auth = Auth(
        client_token=made.token,
        accessor=made.accessor,
        policies=made.policies,
        metadata=made.metadata,
        lease_duration=made.lifetime,
        renewable=made.renewable,
        orphan=made.orphan,
        num_uses=made.uses or 0,
    )
    return Reply(auth=auth, warnings=made.warnings)
