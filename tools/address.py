"""Write down where the course lies for everybody: the setting of the site, and the badges of README.md.

    python tools/address.py https://github.com/OWNER/NAME [--branch main]
    python tools/address.py ""                                # nowhere: no badge, no button

Binder and Colab open a notebook from a public repository, so both need the address. It stands in docs/site/address.toml
only; a test fails when README.md and that file differ.
"""

import argparse
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE, README = ROOT / "docs" / "site" / "address.toml", ROOT / "README.md"
FIRST = "notebooks/00_start_here.ipynb"
#: Where the badges stand in README.md.
BEGIN, END = "<!-- badges: tools/address.py writes them -->", "<!-- end of badges -->"


@dataclass(frozen=True)
class Address:
    """Where the course lies.

    Attributes:
        repository: such as https://github.com/OWNER/NAME, or "" where it lies nowhere in public.
        branch: the branch that readers get.

    Raises:
        ValueError: Colab and Binder's short form open GitHub's repositories, and this is none.
    """

    repository: str = ""
    branch: str = "main"

    def __post_init__(self):
        if self.repository and not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+(?<!\.git)", self.repository):
            raise ValueError(
                f"the address must have the form https://github.com/OWNER/NAME, without .git; got {self.repository!r}"
            )
        if not re.fullmatch(r"[\w.-]+", self.branch):
            raise ValueError(f"a branch is named by letters, digits, dots and hyphens here; got {self.branch!r}")

    def file(self, path: str) -> str:
        """A page of the repository that shows a file."""
        return f"{self.repository}/blob/{self.branch}/{path}"

    def launches(self, notebook: str) -> dict[str, str]:
        """Name of a service -> the address at which it opens a notebook; empty where the course lies nowhere."""
        if not self.repository:
            return {}
        name = self.repository.removeprefix("https://github.com/")
        return {
            "Binder": f"https://mybinder.org/v2/gh/{name}/{self.branch}?urlpath=lab/tree/{notebook}",
            "Colab": f"https://colab.research.google.com/github/{name}/blob/{self.branch}/{notebook}",
        }

    def badges(self, notebook: str = FIRST, folder: str = "docs/badges") -> str:
        """Links to these services, each with a picture from the course itself: no other server is asked for it."""
        return " ".join(
            f"[![Open in {service}]({folder}/{service.lower()}.svg)]({address})"
            for service, address in self.launches(notebook).items()
        )


#: The course lies on this machine only.
NOWHERE = Address()


def read(file: Path = FILE) -> Address:
    """The address that is written down."""
    return Address(**tomllib.loads(file.read_text(encoding="utf-8")))


def with_badges(text: str, address: Address) -> str:
    """The text of README.md with the badges of an address.

    Raises:
        ValueError: the place for them is not marked.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md must hold the lines {BEGIN} and {END}")
    badges = address.badges()
    return f"{before}{BEGIN}\n{badges}{badges and chr(10)}{END}{after}"


def write(address: Address, file: Path = FILE, readme: Path = README) -> None:
    """Write it into both files."""
    setting = file.read_text(encoding="utf-8")
    for name in ("repository", "branch"):
        setting = re.sub(rf'(?m)^{name} = ".*"$', f'{name} = "{getattr(address, name)}"', setting)
    badged = with_badges(readme.read_text(encoding="utf-8"), address)
    file.write_text(setting, encoding="utf-8")
    readme.write_text(badged, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repository", help='such as https://github.com/OWNER/NAME, or ""')
    parser.add_argument("--branch", default="main")
    options = parser.parse_args()
    try:
        write(Address(options.repository.rstrip("/"), options.branch))
    except ValueError as error:
        parser.error(str(error))
    print(f"written to {FILE.relative_to(ROOT)} and README.md; `make site` puts it on the pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
