"""Build the site into build/site from the committed, executed notebooks; nothing is fetched and no model is loaded.

    python tools/build_site.py [--repository https://github.com/OWNER/NAME]

With the address of the repository, from docs/site/address.toml or as an option, the lessons also get badges and buttons
that open them in Binder and Colab.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import site_pages
import site_sources
from address import NOWHERE, Address, read
from site_sources import ROOT

OUT, STAGED = ROOT / "build" / "site", ROOT / "build" / "site-source"


def looks() -> dict[str, tuple[str, str]]:
    """Kind of token -> the words of its legend and the colour of its chip, as the notebooks have them."""
    sys.path.insert(0, str(ROOT))
    from course_utils.teaching.figures import tokens

    return {kind: (tokens.KINDS[kind], tokens.GROUND[kind]) for kind in tokens.KINDS}


def stage(out: Path, address: Address = NOWHERE) -> int:
    """Collect and make all pages in an empty folder; how many there are."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copytree(ROOT / "docs" / "site" / "_static", out / "_static")
    shutil.copy(ROOT / "docs" / "site" / "conf.py", out)
    sources = site_sources.Sources(ROOT, out, address)
    staged = site_sources.collect(sources)
    numbers = json.loads((ROOT / "data" / "landing.json").read_text(encoding="utf-8"))
    colab = (ROOT / "docs" / "site" / "colab_cell.py").read_text(encoding="utf-8")
    site_pages.write(sources, staged, numbers, looks(), colab)
    return sum(1 for suffix in ("*.md", "*.ipynb") for _ in out.rglob(suffix))


def build(source: Path, out: Path, address: Address = NOWHERE) -> int:
    """Run Sphinx, with warnings as errors; its exit status."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-j", "2", "-d",
               str(source / "_build"), str(source), str(out)]  # fmt: skip
    environment = os.environ | {"SITE_ROOT": str(ROOT), "PYTHONHASHSEED": "0"}
    environment |= {"SITE_REPOSITORY": address.repository, "SITE_BRANCH": address.branch}
    return subprocess.run(command, env=environment).returncode


def offer_originals(out: Path) -> None:
    """Let the download button give the notebooks as they are committed, not as the site shows them."""
    for copy in (out / "_sources" / "notebooks").rglob("*.ipynb*"):
        original = ROOT / "notebooks" / copy.relative_to(out / "_sources" / "notebooks")
        shutil.copyfile(original.with_name(original.name.removesuffix(".txt")), copy)


def in_the_way(out: Path) -> str:
    """What speaks against writing the site to this folder, which is then replaced; "" where nothing does."""
    out = out.resolve()
    if out in (ROOT, *ROOT.parents):
        return f"{out} holds the course itself"
    if STAGED in (out, *out.parents):
        return f"{out} is where pages are collected"
    if out.exists() and not out.is_dir():
        return f"{out} is a file"
    if out.is_dir() and any(out.iterdir()) and not (out / ".buildinfo").is_file():
        return f"{out} holds something that is no site built by Sphinx"
    return ""


def build_and_replace(source: Path, out: Path, address: Address = NOWHERE) -> int:
    """Build beside a folder, which is replaced when the new site is whole; the exit status of Sphinx."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as beside:
        made = Path(beside, "made")
        status = build(source, made, address)
        if status == 0:
            offer_originals(made)
            if out.exists():
                out.rename(Path(beside, "older"))
            made.rename(out)
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", default="", help="instead of the one in docs/site/address.toml")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    out = options.out.resolve()
    if problem := in_the_way(out):
        parser.error(f"--out: {problem}; name a folder that is new, empty or an earlier site")
    try:
        address = Address(options.repository) if options.repository else read()
    except ValueError as error:
        parser.error(str(error))
    start = time.perf_counter()
    try:
        pages = stage(STAGED, address)
    except site_sources.BrokenLink as error:
        print(f"Broken links:\n{error}", file=sys.stderr)
        return 1
    print(f"{pages} pages collected in {time.perf_counter() - start:.0f} s; building …", flush=True)
    status = build_and_replace(STAGED, out, address)
    if status == 0:
        print(f"built in {time.perf_counter() - start:.0f} s: {out / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
