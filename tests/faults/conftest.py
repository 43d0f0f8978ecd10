"""The house whose token fails."""

from tests.acme_server.conftest import application, client, door, nameserver, prove, web
from tests.databases import dialect, migrated_url
from tests.faults.shim import shim_library
from tests.faults.token_house import core, faults, own_house, shim
from tests.house_fixture import house_clock, house_config, house_rows, house_token
from tests.tokens import soft_token, token_folder

__all__ = [
    "application",
    "client",
    "core",
    "dialect",
    "door",
    "faults",
    "house_clock",
    "house_config",
    "house_rows",
    "house_token",
    "migrated_url",
    "nameserver",
    "own_house",
    "prove",
    "shim",
    "shim_library",
    "soft_token",
    "token_folder",
    "web",
]
