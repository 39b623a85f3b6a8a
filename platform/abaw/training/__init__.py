"""Optimiser, schedule, loop, checkpoints and the Ray Train entry."""
