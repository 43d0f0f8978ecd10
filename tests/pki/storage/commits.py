"""Count the commits of the connections that write, as the databases' drivers see them."""

import sqlite3

from sqlalchemy import event

from pki.storage.database import Database


def watch_commits(database: Database) -> list[str]:
    """Return a list that grows by one word at each commit of `database` from now on.

    On SQLite the statements themselves are traced, in the driver; on PostgreSQL they are SQLAlchemy's.
    """
    seen: list[str] = []
    if database.dialect == "postgresql":
        event.listen(database._pools.writes, "commit", lambda _connection: seen.append("COMMIT"))
        return seen

    def trace(statement: str) -> None:
        if statement == "COMMIT":
            seen.append(statement)

    def follow(driver: sqlite3.Connection, *_: object) -> None:
        driver.set_trace_callback(trace)

    event.listen(database._pools.writes, "connect", follow)
    event.listen(database._pools.writes, "checkout", follow)
    if database._kept is not None:
        database._kept._driver.set_trace_callback(trace)
    return seen
