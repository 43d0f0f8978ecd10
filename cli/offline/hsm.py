"""`sealward hsm doctor`: what the token can do, and whether it keeps what it must keep."""

import json
from pathlib import Path

import click

from cli.offline.data_directory import DataDirectory
from cli.offline.dev_config import TOKEN_LABEL
from cli.offline.dev_token import use_token
from cli.offline.settings import config_option, require_module
from hsm import softhsm
from hsm.probe import Report, probe
from pki.config import Config, HsmConfig, load
from pki.core import open_hsm
from pki.errors import Misconfigured


@click.group
def command() -> None:
    """Examine the PKCS#11 token."""


@command.command
@config_option
@click.option("--data", type=click.Path(path_type=Path), help="The folder of `sealward dev` whose token is meant.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def doctor(context: click.Context, *, file: Path, data: Path | None, output: str) -> None:
    """Try what the token can do, and every way to get a key out of it.

    Exits with 1 when the token gives up a key, or would. A mechanism that it lacks makes it no less safe.
    """
    config = _dev_config(data) if data is not None else load(file)
    require_module(config.hsm.module)
    with open_hsm(config) as hsm:
        report = probe(hsm)
    click.echo(_as_json(report) if output == "json" else _as_text(report))
    if not report.safe:
        context.exit(1)


def _dev_config(path: Path) -> Config:
    data = DataDirectory(path.absolute())
    if not data.token.exists():
        raise Misconfigured(f"{path} holds no token of `sealward dev`", advice="name the folder that dev was given")
    use_token(data)
    return Config(hsm=HsmConfig(str(softhsm.find_module()), TOKEN_LABEL, data.pin))


def _as_json(report: Report) -> str:
    checks = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in report.checks]
    return json.dumps({"safe": report.safe, "checks": checks}, indent=2)


def _as_text(report: Report) -> str:
    lines = [
        f"{'ok' if check.ok else 'NO':4}{check.name}" + (f": {check.detail}" if check.detail else "")
        for check in report.checks
    ]
    verdict = "SAFE: no key comes out." if report.safe else "UNSAFE: do not keep keys in this token."
    return "\n".join([*lines, "", verdict])
