"""Computations too heavy for a page of the book: each script beside the result it made.

`python -m rmt_experiments` runs them again, see `rmt_experiments.runner`.
"""
