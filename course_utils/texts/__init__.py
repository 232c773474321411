"""What is read: public text, human judgements, and the small sets that the course wrote itself.

Open :mod:`~course_utils.texts.datasets` first (what ships with a package), then
:mod:`~course_utils.texts.readers` (files and folders of your own).
"""
