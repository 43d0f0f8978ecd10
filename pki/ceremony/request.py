"""On the service's machine: the intermediate's key, and the request that is carried to the offline root."""

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hsm.errors import HsmError
from pki.authority.hierarchy import require_algorithm
from pki.authority.signatures import scheme_of
from pki.ceremony.script import INTERMEDIATE
from pki.config import EXTERNAL_ROOT
from pki.core import Core
from pki.errors import HsmFailure, Misconfigured
from pki.founding import ca_subject


def make_request(core: Core) -> tuple[bytes, x509.Name]:
    """Make the intermediate's key in the token, reserve its issuer, and return its request in PEM and its subject.

    A second call gives a request for the same key.

    Raises:
        Misconfigured: the configuration says that the root is the service's own.
        Conflict: there is an intermediate already.
        HsmFailure, DatabaseUnavailable: nothing was made.
    """
    wanted = core.config.authority
    if wanted.root != EXTERNAL_ROOT:
        advice = f'set [authority] root = "{EXTERNAL_ROOT}" before `sealward init`'
        raise Misconfigured("the configuration says that the root is this service's own", advice=advice)
    subject = ca_subject(core, "Intermediate CA")
    algorithm = require_algorithm(wanted.intermediate_algorithm, "[authority] intermediate_algorithm")
    key = core.hierarchy.reserve(INTERMEDIATE, subject, algorithm)
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    digest: Any = scheme_of(key.public_key()).digest
    try:
        request = builder.sign(key, digest)
    except HsmError as error:
        raise HsmFailure(f"the HSM did not sign the request: {error.message}", advice=error.advice) from error
    return request.public_bytes(Encoding.PEM), subject
