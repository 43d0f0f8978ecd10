"""The command line: where the house is put together (`offline`), and where it is spoken to over HTTP (`online`)."""
