"""The metadata of the one database, and the columns that recur in its tables."""

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def id_column(name: str = "id", *, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    """Return a column for an id of the house."""
    return Column(name, String(32), primary_key=primary_key, nullable=nullable)


def text_column(name: str, *, nullable: bool = False) -> Column[str]:
    """Return a column for text of any length."""
    return Column(name, Text, nullable=nullable)


def name_column(name: str, length: int = 255, *, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    """Return a column for a name."""
    return Column(name, String(length), primary_key=primary_key, nullable=nullable)


def hex_column(name: str, octets: int, *, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    """Return a column for lower-case hex of that many octets."""
    return Column(name, String(octets * 2), primary_key=primary_key, nullable=nullable)


def ms_column(name: str, *, nullable: bool = False) -> Column[int]:
    """Return a column for a time or a span in milliseconds."""
    return Column(name, BigInteger, nullable=nullable)


def octets_column(name: str, *, nullable: bool = False) -> Column[bytes]:
    """Return a column for octets that are no secret."""
    return Column(name, LargeBinary, nullable=nullable)
