"""The `sealward` command. Each sub-command is imported when it is called, so that --help answers at once."""

import importlib
import logging
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import click

from cli.failures import in_one_line

logger = logging.getLogger("sealward")

_COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "dev": ("cli.offline.dev", "Make a CA in a folder and serve it on this machine alone."),
        "init": ("cli.offline.init", "Make the keys and certificates of a new CA, once."),
        "serve": ("cli.offline.serve", "Serve the CA that `init` made."),
        "check-config": ("cli.offline.check_config", "Show the configuration in force, or its first error."),
        "migrate": ("cli.offline.migrate", "Bring the database to this version's tables."),
        "db": ("cli.offline.db", "Move everything to another database."),
        "ceremony": ("cli.offline.ceremony", "Hold and verify the ceremony of an offline root."),
        "hsm": ("cli.offline.hsm", "Examine the PKCS#11 token."),
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
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sealward", prog_name="sealward")
@click.option("--debug", is_flag=True, help="Show tracebacks, and what the service does.")
def sealward(*, debug: bool) -> None:
    """Sealward, an internal certificate authority whose keys live in a PKCS#11 token."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0, 1 when it failed, 2 for a wrong usage, 130 when interrupted."""
    try:
        outcome: Any = sealward.main(list(arguments), prog_name="sealward", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        logger.debug("the command failed", exc_info=True)
        click.echo(f"sealward: {in_one_line(error)}", err=True)
        return 1
    return outcome if isinstance(outcome, int) else 0


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))
