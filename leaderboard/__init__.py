"""Submissions, ensembles, scores and the board. Run with `leaderboard --help`."""
