"""``python -m accelsim`` and ``accelsim`` are the command line."""

import sys


def run() -> int:
    """The command line as a process of its own: Ctrl-C while it is still being imported ends it as later."""
    try:
        from accelsim.cli import run as commands
    except KeyboardInterrupt:
        return 130
    return commands()


if __name__ == "__main__":
    sys.exit(run())
