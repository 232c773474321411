"""What an embedder is, and how it comes into memory.

Open :mod:`~course_utils.models.embedder` first: ``load(name)`` and ``encode(texts)``. :mod:`~course_utils.models.registry`
holds every embedder as data, :mod:`~course_utils.models.backbone` the language model behind it,
:mod:`~course_utils.models.store` the files on the disk.
"""
