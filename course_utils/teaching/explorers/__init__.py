"""Explorers: widgets to type and drag in. Each wraps a function that returns HTML or a figure.

One module per subject, :mod:`course_utils.teaching.explorers.page` for what they share. A lesson shows the widget
and, below it, a plain call of the same function, so that a printed page loses nothing.
"""
