"""Where CRLs and CA certificates are published: the paths that the plain HTTP listener answers, and their URLs."""

from dataclasses import dataclass


def crl_path(issuer_id: str) -> str:
    """Return the path at which the full CRL of an issuer is published."""
    return f"/crl/{issuer_id}.crl"


def certificate_path(issuer_id: str) -> str:
    """Return the path at which an issuer's certificate is published in DER (RFC 5280 4.2.2.1)."""
    return f"/ca/{issuer_id}.cer"


@dataclass(frozen=True, slots=True)
class Locations:
    """URLs below the plain HTTP listener's `base_url`, which has no slash at its end; they stand in certificates."""

    base_url: str

    def crl(self, issuer_id: str) -> str:
        """Return the URL of an issuer's full CRL."""
        return self.base_url + crl_path(issuer_id)

    def certificate(self, issuer_id: str) -> str:
        """Return the URL of an issuer's certificate."""
        return self.base_url + certificate_path(issuer_id)
