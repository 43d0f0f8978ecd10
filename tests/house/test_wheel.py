"""The wheel: the four packages and nothing else, with the command and the licence."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import PACKAGES, ROOT, committed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel of what is committed, built beside the tree, since a build leaves files in it."""
    copy = tmp_path_factory.mktemp("wheel")
    for path in committed():
        target = copy / "tree" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    building = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(copy)]
    subprocess.run([sys.executable, "-m", *building, str(copy / "tree")], check=True, timeout=120)
    with zipfile.ZipFile(next(copy.glob("*.whl"))) as opened:
        yield opened


def test_the_wheel_holds_the_four_packages_and_no_tests(wheel: zipfile.ZipFile) -> None:
    """Tests and docs stay out: `import tests` would be anybody's."""
    tops = {Path(name).parts[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_holds_every_module(wheel: zipfile.ZipFile) -> None:
    """Every committed module of the packages is in it, migrations too, and the mark of typed code."""
    paths = {str(path.relative_to(ROOT)) for path in committed()}
    wanted = {path for path in paths if path.split("/")[0] in PACKAGES}
    assert wanted - set(wheel.namelist()) == set()
    assert "pki/py.typed" in wheel.namelist()


def test_the_wheel_brings_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    """`sealward` is cli.main:main."""
    folder = next(name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name)
    assert "sealward = cli.main:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    assert "License-Expression: Apache-2.0" in wheel.read(f"{folder}/METADATA").decode()
    assert f"{folder}/licenses/LICENSE" in wheel.namelist()
