"""A virtual environment that has all packages and not the course, as on a server for notebooks."""

import re
import sysconfig
import venv
from pathlib import Path


def without_the_course(folder: Path) -> Path:
    """Make one in a new folder; its Python. The packages are links to those that run the tests."""
    venv.create(folder, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    # Whatever makes the course itself importable stays behind: neither its finder nor its metadata is seen.
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not re.match(r"__editable__|several_tokens|.*\.pth$", entry.name):
            (packages / entry.name).symlink_to(entry)
    return folder / "bin" / "python"
