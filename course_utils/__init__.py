"""Helpers shared by the notebooks of the course.

Importing the package does no work: every module is imported by name where it
is needed, for instance ``from course_utils.models.embedder import load``.
"""

__version__ = "0.1.0"
