"""Algorithms of weft. Nothing in here imports Dagster: usable as a plain library."""
