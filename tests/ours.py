"""Whose error is it? An error is the course's own when a line of its package raises it, not a library that it calls."""

import traceback
from pathlib import Path

import course_utils

PACKAGE = Path(course_utils.__file__).resolve().parent


def is_ours(error: BaseException) -> bool:
    """Whether an error is one that the course promises and was raised, with words of its own, in its package."""
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    raised = PACKAGE in Path(innermost.filename).resolve().parents and innermost.line.startswith("raise ")
    return raised and type(error) in (ValueError, TypeError, FileNotFoundError) and len(str(error).split()) > 4


def outcome(call, *args, **options):
    """What a call returns, or the course's own error; any other error is passed on and fails the test."""
    try:
        return call(*args, **options)
    except Exception as error:
        if not is_ours(error):
            raise
        return error
