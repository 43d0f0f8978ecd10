"""The schema's history; `pki.storage.migrate` runs it."""
