"""Numbers that ship with the course, and how they stay true.

Open :mod:`~course_utils.shipped.files` first.
"""
