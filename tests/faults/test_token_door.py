"""The token fails while ACME clients finalize: no answer is a 500, and every order ends with its certificate."""

import json
import time
from collections.abc import Callable

import pytest
from cryptography import x509

from pki.core import Core
from pki.errors import HsmFailure
from tests.acme_server.client import Client, OrderOf, csr_for
from tests.faults.shim import ALTER, Shim
from tests.faults.token_house import AT_ONCE, recovers
from tests.faults.token_ledger import without_intent

Prove = Callable[..., OrderOf]

FAULTS = {
    "DEVICE_ERROR": 0x30,
    "TOKEN_NOT_PRESENT": 0xE0,
    "GENERAL_ERROR": 0x05,
    "USER_NOT_LOGGED_IN": 0x101,
    "SESSION_COUNT": 0xB1,
    "MECHANISM_INVALID": 0x70,
    "wrong signature": ALTER,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_order_that_the_token_failed_is_processing_and_then_valid(
    core: Core, faults: Shim, client: Client, prove: Prove, fault: str
) -> None:
    """K2, K3: finalize answers at once that the order is processing (RFC 8555 7.4); it is valid after the fault."""
    order = prove(client, "www.example.com")
    faults.fail("C_Sign", FAULTS[fault])
    begun = time.monotonic()
    response = order.finalize(csr_for(["www.example.com"]))
    assert time.monotonic() - begun < AT_ONCE
    assert response.status_code == 200, response.get_data(as_text=True)
    assert json.loads(response.get_data())["status"] == "processing"
    with pytest.raises(HsmFailure):
        core.reconciler.run()
    assert order.status == "processing"
    faults.clear()
    assert recovers(core.reconciler.run) < 2.0
    assert order.status == "valid"
    leaf = x509.load_der_x509_certificate(order.certificate())
    leaf.verify_directly_issued_by(core.issuers.named("intermediate").certificate)
    assert without_intent(core.database, faults.signatures()) == []
