"""The command line: `sauro`."""
