"""The policy that every token has: what is done with one's own token, and nothing else."""

DEFAULT_NAME = "default"

DEFAULT_TEXT = """\
# What the holder of any token may do. This policy can be changed, but not deleted.

# Look up, renew and revoke one's own token.
path "auth/token/lookup-self" {
  capabilities = ["read", "update"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# Ask what one may do.
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# Ask which of one's own mounts serves a path, as command lines do before they use it.
path "sys/internal/ui/mounts" {
  capabilities = ["read"]
}
path "sys/internal/ui/mounts/*" {
  capabilities = ["read"]
}
"""
