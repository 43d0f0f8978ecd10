"""Secrets engines: one file each, over the room it needs."""
