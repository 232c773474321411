"""The paper's ideas as pure functions on arrays. No model is loaded here.

Open :mod:`~course_utils.measures.alignment` first (which tokens come out), then
:mod:`~course_utils.measures.spectrum` (which direction moved) and :mod:`~course_utils.measures.evaluation` (how sure).
"""
