"""The library of abaw-platform: tracks, metrics, data, systems, training, search. Knows no recipe and no team."""
