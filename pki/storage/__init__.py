"""The only room that opens the database: tables, transactions, group commit, migrations.

Nothing above asks a driver for anything: rooms take a `Database`, write their statements with SQLAlchemy Core over
`pki.storage.tables`, and hand over rows to append or a function of a transaction to run.
"""
