"""Ray Tune with Optuna."""
