"""The command line, `scalesim`: a module per command. `commands` puts them together."""
