"""``python -m sslpairs``: the command line, in a fork of the build's warm server where there is one."""

import sys

from sslpairs.fork_server import end_with_build, run_warm


def main() -> None:
    """Entry point of the command ``sslpairs``."""
    end_with_build()
    code = run_warm(sys.argv[1:])
    if code is not None:
        sys.exit(code)
    from sslpairs.cli import main

    main()


if __name__ == "__main__":
    main()
