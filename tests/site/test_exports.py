"""A notebook as one page of HTML: what nbconvert writes with the template of the course can be read by everybody."""

import inspection
import nbformat
import pytest
from nbconvert import HTMLExporter
from repo import NOTEBOOKS, ROOT, appendices, lessons, read, solutions

pytestmark = pytest.mark.browser

THEMES = ("light", "dark")


def export(notebook: nbformat.NotebookNode, theme: str, template: str = "export") -> str:
    """What docs/site/run.md tells readers to call; formulas stay as they are written, as their script is elsewhere."""
    exporter = HTMLExporter(
        template_name=template,
        extra_template_basedirs=[str(ROOT / "docs")],
        theme=theme,
        mathjax_url="",
        require_js_url="",
    )
    return exporter.from_notebook_node(notebook)[0]


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[str, inspection.Seen]:
    """Every notebook in both themes, visited once."""
    folder = tmp_path_factory.mktemp("exports")
    for path in (*lessons(), *appendices(), *solutions()):
        for theme in THEMES:
            name = path.relative_to(NOTEBOOKS).with_suffix("").as_posix().replace("/", "_")
            (folder / f"{name}.{theme}.html").write_text(export(read(path), theme), encoding="utf-8")
    return inspection.visit_all({path.name: path.as_uri() for path in sorted(folder.iterdir())}, darken="")


def test_no_export_keeps_anybody_out_in_either_theme(seen, capsys):
    with capsys.disabled():
        print("", inspection.table(seen), sep="\n")
    assert len(seen) >= 2 * len((*lessons(), *solutions()))
    assert not inspection.told(seen, "light")


def test_no_export_slides_sideways_or_asks_another_server(seen):
    assert not {name: each.narrow for name, each in seen.items() if each.narrow}
    assert not inspection.told(seen, "foreign") + inspection.told(seen, "complaints")


def test_the_command_on_the_site_uses_this_template():
    page = (ROOT / "docs" / "site" / "run.md").read_text(encoding="utf-8")
    assert "jupyter nbconvert --to html --TemplateExporter.extra_template_basedirs=docs --template=export " in page
    assert "text-decoration: underline" in export(nbformat.v4.new_notebook(), "light")
