"""The URLs of the ACME door."""

import pytest

from acme_server.links import Links
from acme_server.problems import Problem, ProblemType

ACCOUNT = "abcdefghijklmnopqrstuvwx27"
LINKS = Links("https://ca.example:8443", "server")


def test_urls_come_from_the_configuration() -> None:
    """Each URL begins with the configured base and names its profile; no two are alike."""
    urls = [
        LINKS.directory,
        LINKS.new_nonce,
        LINKS.new_account,
        LINKS.new_order,
        LINKS.revoke_cert,
        LINKS.key_change,
        LINKS.account("a"),
        LINKS.orders("a"),
        LINKS.order("a"),
        LINKS.finalize("a"),
        LINKS.authorization("a"),
        LINKS.challenge("a", "http-01"),
        LINKS.certificate("a"),
    ]
    assert all(url.startswith("https://ca.example:8443/acme/server/") for url in urls)
    assert len(set(urls)) == len(urls)
    assert LINKS.finalize("a") == "https://ca.example:8443/acme/server/order/a/finalize"


def test_the_id_of_an_account_is_read_from_its_url() -> None:
    """A kid that `account` made gives the id back."""
    assert LINKS.account_id(LINKS.account(ACCOUNT)) == ACCOUNT


@pytest.mark.parametrize(
    "kid",
    [
        "",
        ACCOUNT,
        LINKS.account(""),
        LINKS.account(ACCOUNT) + "/",
        LINKS.account(ACCOUNT) + "\n",
        LINKS.account(ACCOUNT).upper(),
        LINKS.account(ACCOUNT + "a"),
        LINKS.account(ACCOUNT[:-1]),
        LINKS.account(f"../account/{ACCOUNT}"),
        LINKS.orders(ACCOUNT),
        LINKS.order(ACCOUNT),
        Links("https://ca.example:8443", "client").account(ACCOUNT),
        Links("https://other.example", "server").account(ACCOUNT),
        "http://ca.example:8443/acme/server/account/" + ACCOUNT,
    ],
)
def test_another_url_is_no_account(kid: str) -> None:
    """RFC 8555 6.2: a kid that is not exactly an account's URL in this directory has no account."""
    with pytest.raises(Problem) as caught:
        LINKS.account_id(kid)
    assert caught.value.type is ProblemType.ACCOUNT_DOES_NOT_EXIST
