"""The console script. For `sauro up`, what its services need is being imported elsewhere before the command line is read."""

import sys

from services.cli.warming import warm_up


def main() -> None:
    """Run the command that the command line names."""
    asked = set(sys.argv[1:])
    if "up" in asked and not asked & {"-h", "--help"}:
        warm_up()
    from services.cli.commands import run

    run()


if __name__ == "__main__":
    main()
