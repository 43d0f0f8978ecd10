"""Who acts: what a client token stands for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a token. `accessor` names the token without being it; `display_name` is what a person reads.

    `policies` are names, sorted, `default` among them unless the token was made without. `expires_at` None: it does
    not expire. `path` is where it was made; `metadata` what the auth method says of its holder.
    """

    accessor: str
    namespace_id: str
    kind: str
    display_name: str
    policies: tuple[str, ...]
    path: str
    created_at: datetime
    expires_at: datetime | None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Who acts, as certificates and the audit log name them: the display name and the token's accessor."""
        return f"{self.display_name} ({self.accessor})"
