"""The acme library, for what no client's command line offers: a key change, and a revocation by who holds the names."""

import josepy
import pytest
from acme import errors, messages
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.interop.library import Library, new_key
from tests.service import Service

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("library_version")]


@pytest.fixture
def library(service: Service) -> Library:
    """Give a client with an account."""
    made = Library(service, new_key())
    made.register()
    return made


def test_account_goes_on_with_a_new_key(library: Library, service: Service) -> None:
    """After a key change the new key orders, and the old one is nobody's (RFC 8555 7.3.5)."""
    old, url = library.key, library.account_url
    library.change_key(new_key())
    assert library.account().status == "valid"
    certificate = library.obtain(["rekeyed.example"])
    assert certificate.serial_number > 0
    left = Library(service, old)
    left.use_account(url)
    with pytest.raises(messages.Error) as refused:
        left.account()
    assert refused.value.code in {"unauthorized", "accountDoesNotExist"}


def test_key_of_another_account_is_not_taken_over(library: Library, service: Service) -> None:
    """A new key that has an account already is a conflict, and the old key stays (RFC 8555 7.3.5)."""
    other = Library(service, new_key())
    other.register()
    before = library.key
    with pytest.raises(errors.ConflictError) as conflict:
        library.change_key(other.key)
    assert conflict.value.location == other.account_url
    assert library.key == before
    assert library.account().status == "valid"


def test_rsa_account_key_is_updated_and_deactivated(service: Service) -> None:
    """An RSA account key does all that an EC key does; contacts can be changed and dropped (CA10)."""
    library = Library(service, josepy.JWKRSA(key=rsa.generate_private_key(65537, 2048)))
    library.register("before@example.com")
    for contact in (("mailto:after@example.com",), ()):
        library.update_contact(contact)
        assert library.account().contact == contact
    assert library.deactivate().status == "deactivated"
    with pytest.raises(messages.Error) as refused:
        library.account()
    assert refused.value.code == "unauthorized"


def test_who_holds_the_names_revokes_another_s_certificate(library: Library, service: Service) -> None:
    """The third authority: an account with valid authorizations for all names, and not before it has them (X11)."""
    names = ["mine.example", "mine-too.example"]
    certificate = library.obtain(names)
    heir = Library(service, new_key())
    heir.register()
    with pytest.raises(messages.Error) as refused:
        heir.acme.revoke(certificate, 0)
    assert refused.value.code == "unauthorized"
    heir.obtain(names)
    heir.acme.revoke(certificate, 4)
    with pytest.raises(messages.Error) as again:
        library.acme.revoke(certificate, 0)
    assert again.value.code == "alreadyRevoked"
