"""The house whose rooms are tested."""

from tests.databases import dialect, migrated_url
from tests.house_fixture import core, house_clock, house_config, house_rows, house_token
from tests.tokens import soft_token, token_folder

__all__ = [
    "core",
    "dialect",
    "house_clock",
    "house_config",
    "house_rows",
    "house_token",
    "migrated_url",
    "soft_token",
    "token_folder",
]
