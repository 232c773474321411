"""What people look at and touch: figures, explorers (widgets), exercises and quizzes.

Open :mod:`~course_utils.teaching.figures.tokens` first: the coloured tokens of every lesson.
"""
