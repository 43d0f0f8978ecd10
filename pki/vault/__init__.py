"""Stored secrets, sealed under data keys that only the HSM unwraps."""
