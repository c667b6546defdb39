"""`python -m cp.cli`: the same command where the console script is not on the path."""

from __future__ import annotations

import sys

from cp.cli import main

sys.exit(main())
