"""Computations too heavy for a page of the book: each script beside the result it made.

`python -m experiments` runs them again, see `experiments.runner`.
"""
