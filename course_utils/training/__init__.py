"""How an adapter is made, and what its card says.

Open :mod:`~course_utils.training.recipes` first (a recipe is data), then :mod:`~course_utils.training.loop`.
"""
