"""Aligned tokens at work: sparse vectors, an inverted index, and what it costs.

Open :mod:`~course_utils.search.sparse` first; :mod:`~course_utils.search.retrieval` builds systems on it,
:mod:`~course_utils.search.fair` compares them, and :mod:`~course_utils.search.results` keeps what came out.
"""
