"""The server's page: the report of `leaderboard report`, with what every team may see.

It holds what the API's board holds, public scores before the reveal, and how they came about over time; no reasons,
files, notes, labels or counts of them.
"""

from leaderboard import board
from leaderboard.report import Sources, make_page
from leaderboard.serving import Served

EMPTY = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Leaderboard</title><p>No entry yet.</p></html>'


def page(served: Served) -> str:
    """The page as HTML."""
    tracks = [challenge.track for challenge in served.challenges.values()]
    if not any(board.rows(served.url, track) for track in tracks):
        return EMPTY
    return make_page(served.url, tracks, Sources(), of_teams=True).html
