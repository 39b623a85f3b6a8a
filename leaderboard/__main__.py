"""Run the leaderboard as a module: `python -m leaderboard --help`."""

import sys

from leaderboard.cli import main

sys.exit(main())
