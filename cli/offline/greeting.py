"""What `sealward dev` prints when it serves: where everything is, and four acts, each with the lines to paste."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from cli.offline.prepare import SSH_ROLE

_STANDARD_PORT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """All that a newcomer needs: where the service is, whom to trust, and lines to paste.

    `login_name` is whom the SSH role lets in, if there is one; `programs` the folder of the command `sealward`, if
    the shell would not find it. No line holds a secret: the token stays in its file, `root_token`.
    """

    address: str
    directory_url: str
    http_url: str
    root_pem: Path
    fingerprint: str
    root_token: Path
    ready: Path
    http01_port: int
    tlsalpn01_port: int
    proof: str
    login_name: str | None
    programs: Path | None

    def __str__(self) -> str:
        """Return the whole text."""
        return "\n".join(
            (
                "",
                "Sealward serves this machine; Ctrl-C stops it.",
                "",
                f"  HTTP API        {self.address}/v1",
                f"  ACME directory  {self.directory_url}",
                f"  root (PEM)      {self.root_pem}",
                f"  root (SHA-256)  {self.fingerprint}",
                f"  root token      {self.root_token}",
                f"  CRLs, CA certs  {self.http_url}",
                f"  for programs    {self.ready}",
                "",
                f"  proof           {self.proof}",
                "",
                "A server gets a certificate for localhost, by the client of your choice:",
                "",
                *self._certbot(),
                "",
                *self._lego(),
                "",
                *self._caddy(),
                "",
                "You, as its administrator, log in, say what may be issued, issue, and revoke:",
                "",
                *self._administrator(),
                "",
                *self._person(),
                "An application stores a secret and reads it; the last line is the same by any HTTP client:",
                "",
                *self._application(),
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

    def _administrator(self) -> tuple[str, ...]:
        path = () if self.programs is None else (f"export PATH={shlex.quote(str(self.programs))}:$PATH",)
        return (
            *path,
            f"export SEALWARD_ADDR={self.address} SEALWARD_CACERT={self._root}",
            f"sealward login < {self._token}",
            "sealward profile set web allowed_domains=internal.example allow_subdomains=true",
            "sealward cert issue web www.internal.example",
            "sealward cert revoke --file www.internal.example.pem --reason superseded",
        )

    def _person(self) -> tuple[str, ...]:
        if self.login_name is None:
            return ()
        return (
            f"A person gets an SSH certificate to log in as {self.login_name}, for an hour:",
            "",
            "ssh-keygen -q -t ed25519 -N '' -f id_ed25519",
            f"sealward ssh sign {SSH_ROLE} id_ed25519.pub",
            "",
            "and the servers' sshd trusts such certificates by two lines, in the folder of its sshd_config:",
            "",
            "sealward ssh ca > sealward_users.pub",
            'echo "TrustedUserCAKeys $PWD/sealward_users.pub" >> sshd_config',
            "",
        )

    def _application(self) -> tuple[str, ...]:
        return (
            "openssl rand -hex 24 | sealward kv put secret/app password=-",
            "sealward kv get secret/app --field password",
            # By a file that is none, since what stands on a command line is seen by every user of the machine.
            f"""printf 'header = "X-Vault-Token: %s"\\n' "$(cat {self._token})" |""",
            f"  curl --config - --cacert {self._root} {self.address}/v1/secret/data/app",
        )

    @property
    def _root(self) -> str:
        return shlex.quote(str(self.root_pem))

    @property
    def _token(self) -> str:
        return shlex.quote(str(self.root_token))
