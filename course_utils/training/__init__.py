"""How an adapter is made, and what its card says.

Open :mod:`~course_utils.training.recipes` first (a recipe is data), then :mod:`~course_utils.training.loop`;
:mod:`~course_utils.training.teacher` has a say in the loss, :mod:`~course_utils.training.family` trains all recipes.
"""
