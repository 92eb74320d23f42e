"""Staged training of trajectory models, from a smoother to whole series."""
