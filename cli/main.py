"""The `sealward` command. Each sub-command is imported when it is called, so that --help answers at once."""

import importlib
import logging
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import click

from cli.failures import in_one_line
from cli.terminal import one_line

logger = logging.getLogger("sealward")

_COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "status": ("cli.online.status:status", "Show whether the service serves."),
        "login": ("cli.online.login:login", "Get a token, and keep it for the commands that follow."),
        "logout": ("cli.online.login:logout", "Revoke that token, and forget it."),
        "cert": ("cli.online.cert:cert", "Issue, list, show and revoke X.509 certificates."),
        "profile": ("cli.online.profile:profile", "Say what certificates may be issued."),
        "ssh": ("cli.online.ssh:ssh", "Get OpenSSH certificates."),
        "kv": ("cli.online.kv:kv", "Store and read secrets."),
        "token": ("cli.online.token:token", "Make, look up, renew and revoke client tokens."),
        "policy": ("cli.online.policy:policy", "Say who may do what."),
        "user": ("cli.online.user:user", "Say which people log in by a password."),
        "approle": ("cli.online.approle:approle", "Say which programs log in by a secret-id."),
        "mount": ("cli.online.mount:mount", "Say which engine or auth method answers where."),
        "audit": ("cli.online.audit:audit", "See what was done, and by whom."),
        "dev": ("cli.offline.dev:command", "Make a CA in a folder and serve it on this machine alone."),
        "init": ("cli.offline.init:command", "Make the keys and certificates of a new CA, once."),
        "serve": ("cli.offline.serve:command", "Serve the CA that `init` made."),
        "check-config": ("cli.offline.check_config:command", "Show the configuration in force, or its first error."),
        "backup": ("cli.offline.backup:backup_command", "Write a backup of the database, sealed for the token."),
        "restore": ("cli.offline.backup:restore_command", "Put the database of a backup in its place."),
        "migrate": ("cli.offline.migrate:command", "Bring the database to this version's tables."),
        "db": ("cli.offline.db:command", "Move everything to another database."),
        "ceremony": ("cli.offline.ceremony:command", "Hold and verify the ceremony of an offline root."),
        "hsm": ("cli.offline.hsm:command", "Examine the PKCS#11 token."),
    }
)


class _Lazy(click.Group):
    """Knows its commands by name, and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of use."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, or None."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sealward", prog_name="sealward")
@click.option("--debug", is_flag=True, help="Show tracebacks, and what the service does.")
def sealward(*, debug: bool) -> None:
    """Sealward, an internal certificate authority and secrets vault whose keys live in a PKCS#11 token."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0, 1 when it failed, 2 for a wrong usage, 130 when interrupted.

    Commands that speak to the service have further codes (cli.online.exits). What went wrong is told in one line.
    """
    try:
        outcome: Any = sealward.main(list(arguments), prog_name="sealward", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        click.echo(f"sealward: {one_line(error.format_message())}{_hint(error)}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        logger.debug("the command failed", exc_info=True)
        click.echo(f"sealward: {in_one_line(error)}", err=True)
        return 1
    return outcome if isinstance(outcome, int) else 0


def _hint(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return "" if context is None else f" (`{context.command_path} --help` says more)"


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))
