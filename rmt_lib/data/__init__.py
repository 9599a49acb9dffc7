"""Data that comes with the library, each file beside the script that made it."""
