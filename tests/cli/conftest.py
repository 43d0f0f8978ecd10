"""Fixtures of the command line's tests."""

from tests.cli.machines import clock_shifted_by, disk
from tests.service import service

__all__ = ["clock_shifted_by", "disk", "service"]
