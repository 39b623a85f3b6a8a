"""`python -m experiments`: the same as `abaw`, with the library of the checkout or uploaded folder that it lies in."""

import sys
from pathlib import Path

_SOURCES = Path(__file__).parent.parent / "platform"
if _SOURCES.is_dir():
    sys.path.insert(0, str(_SOURCES))

from experiments.cli import main  # noqa: E402 - after the path is set

if __name__ == "__main__":
    main()
