"""The column type for secrets: it takes an `Envelope`, so clear text cannot reach the database by mistake."""

from sqlalchemy import Dialect, LargeBinary
from sqlalchemy.types import TypeDecorator

from pki.seal.envelope import Envelope


class SealedColumn(TypeDecorator[Envelope]):
    """Octets of an `Envelope`; anything else is refused with TypeError before a statement leaves the process."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Envelope | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002
        """Return the octets to store; TypeError (wrapped in StatementError by SQLAlchemy) for all but an Envelope."""
        if value is None:
            return None
        if not isinstance(value, Envelope):
            raise TypeError(f"a sealed column takes an Envelope, not {type(value).__name__}")
        return value.to_bytes()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Envelope | None:  # noqa: ARG002
        """Return the stored Envelope, still sealed; Malformed where the octets are none."""
        return None if value is None else Envelope.from_bytes(value)
