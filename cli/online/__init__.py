"""Commands that speak to a running service over HTTP, and know nothing of the rooms behind it."""
