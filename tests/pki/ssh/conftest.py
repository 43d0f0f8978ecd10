"""The SSH authority of a founded house, at a mount with CA keys of its own."""

import pytest

from pki.core import Core, read_cluster_id
from pki.mounts import Mount
from pki.ssh.authority import SshAuthority


def authority(core: Core) -> SshAuthority:
    """Return the SSH authority over the rooms of `core`."""
    return SshAuthority.over(
        database=core.database,
        hsm=core.hsm,
        clock=core.clock,
        ids=core.ids,
        trail=core.trail,
        cluster_id=read_cluster_id(core.database),
        worker=core.worker,
    )


@pytest.fixture
def ssh(core: Core) -> SshAuthority:
    """Give the SSH authority."""
    return authority(core)


@pytest.fixture
def bare_mount(core: Core) -> Mount:
    """Give a mount that has no CA keys yet; its id is new each time, since all tests share one token."""
    return Mount(core.ids.new(), "root", "people/", "secret", "ssh")


@pytest.fixture
def mount(ssh: SshAuthority, bare_mount: Mount) -> Mount:
    """Give a mount with CA keys, as founding makes them."""
    ssh.issuers.found(bare_mount)
    return bare_mount
