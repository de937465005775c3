"""The command line: settings, build, commands."""
