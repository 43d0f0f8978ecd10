"""The certificate authority: issuers, profiles, the one issuance gate, revocation and CRLs."""
