"""``python -m gliomart.cli``."""

import sys

from gliomart.cli import main

sys.exit(main())
