"""What `sealward dev` prints when it serves."""

import shlex
from dataclasses import dataclass
from pathlib import Path

_STANDARD_PORT = 80


@dataclass(frozen=True, slots=True)
class Greeting:
    """All that a newcomer needs: where the service is, whom to trust, and lines to paste."""

    directory_url: str
    http_url: str
    root_pem: Path
    fingerprint: str
    ready: Path
    http01_port: int
    tlsalpn01_port: int
    proof: str

    def __str__(self) -> str:
        """Return the whole text."""
        return "\n".join(
            (
                "",
                "Sealward serves this machine; Ctrl-C stops it.",
                "",
                f"  ACME directory  {self.directory_url}",
                f"  root (PEM)      {self.root_pem}",
                f"  root (SHA-256)  {self.fingerprint}",
                f"  CRLs, CA certs  {self.http_url}",
                f"  for programs    {self.ready}",
                "",
                f"  proof           {self.proof}",
                "",
                "A certificate for localhost, by the client of your choice:",
                "",
                *self._certbot(),
                "",
                *self._lego(),
                "",
                *self._caddy(),
                "",
            )
        )

    def _certbot(self) -> tuple[str, ...]:
        port = "" if self.http01_port == _STANDARD_PORT else f" --http-01-port {self.http01_port}"
        return (
            f"REQUESTS_CA_BUNDLE={self._root} certbot certonly --standalone{port} -d localhost \\",
            f"  --server {self.directory_url} \\",
            "  --agree-tos --register-unsafely-without-email --non-interactive \\",
            "  --config-dir certbot --work-dir certbot --logs-dir certbot",
        )

    def _lego(self) -> tuple[str, ...]:
        port = "" if self.http01_port == _STANDARD_PORT else f" --http.port :{self.http01_port}"
        return (
            f"LEGO_CA_CERTIFICATES={self._root} lego --server {self.directory_url} \\",
            f"  --accept-tos --email you@example.com --domains localhost --http{port} --path lego run",
        )

    def _caddy(self) -> tuple[str, ...]:
        ports = (("http_port", self.http01_port, 80), ("https_port", self.tlsalpn01_port, 443))
        options = [f"  {key} {port}" for key, port, standard in ports if port != standard]
        return (
            "caddy run --adapter caddyfile --config - << 'END'",
            *(["{", *options, "}"] if options else []),
            "localhost {",
            "  tls {",
            # Named here, since for localhost Caddy would otherwise take its own CA, whatever acme_ca says.
            "    issuer acme {",
            f"      dir {self.directory_url}",
            f'      trusted_roots "{self.root_pem}"',
            "    }",
            "  }",
            '  respond "hello"',
            "}",
            "END",
        )

    @property
    def _root(self) -> str:
        return shlex.quote(str(self.root_pem))
