"""At scale: a collection too large for one process is encoded, turned into sparse vectors and handed to an engine.

Open :mod:`~course_utils.search.scale.encode` first: it writes embeddings in shards
(:mod:`~course_utils.search.scale.shards`), :mod:`~course_utils.search.scale.build` makes aligned-token vectors of them,
:mod:`~course_utils.search.scale.handover` gives those to an engine, and :mod:`~course_utils.search.scale.costs` says
what all of it takes.
"""
