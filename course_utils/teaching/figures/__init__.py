"""Figures: plain functions that take arrays and return a matplotlib figure or a piece of HTML.

One module per subject, :mod:`course_utils.teaching.figures.style` for what they share.
"""
