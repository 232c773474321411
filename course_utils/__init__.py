"""Helpers shared by the notebooks of the course.

Importing the package does no work: every module is imported by name where it
is needed, for instance ``from course_utils.models.embedder import load``.

Lessons, adapters and data lie beside the package in a clone of the course. A package that was installed without them
(``pip install`` of a wheel) measures and decodes with what needs none of them, and says so of the rest.
"""

from pathlib import Path

__version__ = "0.1.0"

_BESIDE = Path(__file__).resolve().parents[1]


def clone() -> Path | None:
    """The top folder of the course where this package lies in a clone of it; None where it was installed alone."""
    return _BESIDE if (_BESIDE / "data" / "quiz").is_dir() else None


def installed_alone(place: Path) -> str:
    """What to add to the message that a file is missing: "" unless it would lie in a clone, and there is none."""
    if clone() or not place.is_relative_to(_BESIDE):
        return ""
    return (
        ". This package was installed without the lessons, adapters and data of the course: get the whole course with "
        "git clone, and in its folder run: python -m pip install -e ."
    )
