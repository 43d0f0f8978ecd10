"""Certificates, CRLs and requests that are signed in the token, for the tests of its keys."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.x509.oid import NameOID

from hsm import TokenEd25519Key, TokenKey, TokenRSAKey

# The real time, once for the whole run: certtool (GnuTLS 3.7) cannot be told another.
NOW = datetime.now(UTC).replace(microsecond=0)
LEAF_KEY = ec.generate_private_key(ec.SECP256R1())
Scheme = padding.PSS | padding.PKCS1v15 | None


def name(common_name: str) -> x509.Name:
    """Return a distinguished name of one attribute."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def hash_for(key: TokenKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """Return the hash that goes with that key: none for Ed25519."""
    if isinstance(key, TokenEd25519Key):
        return None
    return hashes.SHA384() if key.key_size == 384 else hashes.SHA256()


def _builder(subject: str, serial: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name("root"))
        .serial_number(serial)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
    )


def root_certificate(key: TokenKey, scheme: Scheme = None) -> x509.Certificate:
    """Return a self-signed CA certificate."""
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder("root", 1)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hash_for(key), rsa_padding=scheme)


def leaf_certificate(key: TokenKey, serial: int = 2, scheme: Scheme = None) -> x509.Certificate:
    """Return a certificate of LEAF_KEY, signed by the root's key."""
    builder = (
        _builder("leaf", serial)
        .public_key(LEAF_KEY.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("leaf.example")]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hash_for(key), rsa_padding=scheme)


def crl(key: TokenKey, *revoked: int, scheme: Scheme = None) -> x509.CertificateRevocationList:
    """Return the root's CRL with those serial numbers."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name("root"))
        .last_update(NOW - timedelta(hours=1))
        .next_update(NOW + timedelta(days=1))
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - timedelta(hours=2)).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hash_for(key), rsa_padding=scheme)


def schemes(key: TokenKey) -> list[Scheme]:
    """Return every padding that goes with the key; None stands for the key's own way, PKCS #1 v1.5 with RSA."""
    if not isinstance(key, TokenRSAKey):
        return [None]
    return [None, padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)]
