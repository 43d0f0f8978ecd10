"""pkilint's rules for RFC 5280, as its `lint_pkix_cert` runs them: a second opinion that is not ours.

It takes some milliseconds a certificate, so that `Linter` asks it once a shape.
"""

import threading

from pkilint import loader
from pkilint.pkix import certificate as rules
from pkilint.pkix import extension, name
from pkilint.validation import ValidationFindingSeverity

_LEFT_TO_OWN_RULES = frozenset(
    {
        # Takes any name for wrong that has a wildcard, one label or a digit at its end, and any URI but of some ten
        # schemes (no spiffe://). What RFC 5280 asks is in `pki.authority.lint.syntax`, which looks at every value.
        "pkix.invalid_domain_name_syntax",
        "pkix.invalid_uri_syntax",
        "pkix.invalid_email_address_syntax",
        # Takes a root for one by its signature, which there is none of yet.
        "pkix.authority_key_identifier_extension_absent",
    }
)


class Pkix:
    """Runs pkilint on one certificate at a time: nothing promises that its validators bear threads.

    `left_out` are the codes of findings that own rules stand for.
    """

    def __init__(self, left_out: frozenset[str] = _LEFT_TO_OWN_RULES) -> None:
        self._left_out = left_out
        self._lock = threading.Lock()
        self._rules = rules.create_pkix_certificate_validator_container(
            rules.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
            [
                rules.create_issuer_validator_container([]),
                rules.create_validity_validator_container(),
                rules.create_subject_validator_container([]),
                rules.create_extensions_validator_container([]),
                rules.create_spki_validator_container([]),
            ],
        )

    def findings(self, der: bytes) -> list[str]:
        """Return what pkilint holds for an error or worse in a certificate."""
        with self._lock:
            try:
                document = loader.load_der_certificate(der, "certificate", "certificate")
            except ValueError:
                return ["pkilint: it cannot read the certificate"]
            results = self._rules.validate(document.root)
        return [
            f"pkilint: {description.finding.code}"
            for result in results
            for description in result.finding_descriptions
            if description.finding.severity <= ValidationFindingSeverity.ERROR
            and description.finding.code not in self._left_out
        ]
