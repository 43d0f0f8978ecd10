"""Secrets engine pki: X.509 certificates by the roles (profiles) of the authority."""

from pki.engines.pki.engine import Pki
from pki.engines.pki.rooms import Rooms

__all__ = ["Pki", "Rooms"]
