"""Recipes: one module a paper, typed functions that return a config. Run with `abaw run RECIPE`."""
