"""`python -m cli`: the `sealward` command, where it is not installed."""

from cli.main import main

main()
