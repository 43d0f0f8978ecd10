"""The SSH authority: certificates for people and hosts, by roles, signed in the HSM."""
