"""Numbers that ship with the course, and how they stay true.

Open :mod:`~course_utils.shipped.arrays` first: ``arrays.load("sentences", "smol-eol")``. Which kinds there are says
:mod:`~course_utils.shipped.kinds`, what a file looks like :mod:`~course_utils.shipped.files`.
"""
