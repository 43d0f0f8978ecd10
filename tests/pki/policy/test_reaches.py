"""Whether a set of policies gives anything below a folder: which mounts a token is shown."""

import pytest

from pki.policy import acl
from pki.policy.document import ROOT, parse


@pytest.mark.parametrize(
    ("pattern", "folder", "reaches"),
    [
        ("secret/data/app", "secret/", True),
        ("secret/*", "secret/", True),
        ("secr*", "secret/", True),
        ("*", "secret/", True),
        ("+/data/*", "secret/", True),
        ("team/+/data", "team/kv/", True),
        ("team/k*", "team/kv/", True),
        ("secret", "secret/", False),
        ("secrets/*", "secret/", False),
        ("other/+", "secret/", False),
        ("team/x*", "team/kv/", False),
        ("team/+", "team/kv/", False),
    ],
)
def test_a_pattern_reaches_below_a_folder_if_it_matches_a_path_there(pattern: str, folder: str, reaches: bool) -> None:
    """By segments: a plain or `+` segment, or a `*` that may go on."""
    document = f'path "{pattern}" {{ capabilities = ["read"] }}'
    assert acl.compile([parse("p", document)]).reaches(folder) is reaches


def test_a_denied_pattern_reaches_nothing_and_root_reaches_all() -> None:
    """What is denied is not given, and root has everything."""
    denied = parse("p", 'path "secret/*" { capabilities = ["deny"] }')
    assert not acl.compile([denied]).reaches("secret/")
    assert acl.compile([ROOT]).reaches("secret/")
