"""The library of abaw-platform: tracks, metrics, data, models, systems, training and search. Knows no recipe and no team."""
