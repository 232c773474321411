"""What an embedder is, and how it comes into memory.

Open :mod:`~course_utils.models.embedder` first: ``load(name)`` and ``encode(texts)``.
:mod:`~course_utils.models.registry` holds every embedder as data, :mod:`~course_utils.models.backbone` the language
model behind it with its :mod:`~course_utils.models.adapters`, :mod:`~course_utils.models.heads` which matrix decodes
it, :mod:`~course_utils.models.layout` how sentence-transformers writes an embedder down,
:mod:`~course_utils.models.folders` what a folder must hold, :mod:`~course_utils.models.store` the files on the disk.
"""
