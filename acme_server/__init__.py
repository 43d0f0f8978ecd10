"""The door that speaks ACME (RFC 8555): it reads and checks what clients send, and calls the rooms of `pki`."""
