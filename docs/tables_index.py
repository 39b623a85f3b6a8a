"""Write the list of the papers' tables in docs/reproducing.md: which there are, and what the measured ones say.

Run `python docs/tables_index.py` after `abaw table NAME --out docs/tables/NAME.md`.
"""

import re
from collections import Counter
from pathlib import Path

from experiments.registry import TABLES
from experiments.variants import PaperTable

DOCS = Path(__file__).parent
PAGE = DOCS / "reproducing.md"
HEAD = "| command | table | rows | signs of the effects |\n|---|---|---:|---|\n"


def index() -> str:
    """The list as a Markdown table."""
    rows = (f"| `abaw table {one.name}` | {one.title} | {len(one.rows)} | {said(one)} |\n" for one in TABLES.values())
    return HEAD + "".join(rows)


def said(table: PaperTable) -> str:
    """How many effects agree with the paper's; or why there is none."""
    page = DOCS / "tables" / f"{table.name}.md"
    if not page.is_file():
        can_run = sum(row.small is not None for row in table.rows) > 1
        return "not measured yet" if can_run else "needs data or weights that are not here"
    signs = re.findall(r"\| \**(agrees|disagrees|unclear)\** \|$", page.read_text(), re.M)
    counts = [f"{count} {sign}" for sign, count in Counter(sorted(signs)).items()]
    return f"[{', '.join(counts) or 'no effect of the paper'}](tables/{page.name})"


def updated(text: str) -> str:
    """The page with the list of today."""
    start = text.index(HEAD)
    return text[:start] + index() + text[text.index("\n\n", start) + 1 :]


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
