"""The ports of the standards, for what is documented with them."""

import pytest

from cli.offline.data_directory import can_bind

STANDARD_PORTS = {"http01_port": 80, "tlsalpn01_port": 443}


def require_standard_ports() -> None:
    """Skip where this user may not listen there, or another program does."""
    if not all(map(can_bind, STANDARD_PORTS.values())):
        pytest.skip("ports 80 and 443 of 127.0.0.1 are missing: be root, and end what listens there")
