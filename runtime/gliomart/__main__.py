"""The ``gliomart`` command from its first moment on, and ``python -m gliomart``.

Little is loaded before signals are listened to: until then they are Python's, which tells of them
in a traceback.
"""

from __future__ import annotations

import sys

from gliomart.host.signals import listen_from_the_start


def main() -> int:
    """Run the command of this process; see :func:`gliomart.cli.main`."""
    listen_from_the_start()
    from gliomart import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
