"""Predictions after the network: gap filling, smoothing, thresholds, cross-fitting."""
