"""The command `cnncli`, and `python -m cnncli`."""

import sys


def main() -> None:
    """Run the command line. Loading it takes 50 ms, in which Ctrl-C is no traceback either."""
    try:
        from cnncli.cli import main

        main()
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
