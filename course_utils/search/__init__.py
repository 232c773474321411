"""Aligned tokens at work: sparse vectors, an inverted index, and what it costs.

Open :mod:`~course_utils.search.sparse` first; :mod:`~course_utils.search.retrieval` compares whole systems on it.
"""
