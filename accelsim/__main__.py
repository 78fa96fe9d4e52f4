"""``python -m accelsim`` is the command line."""

import sys

from accelsim.cli import run

if __name__ == "__main__":
    sys.exit(run())
