"""The hooks that make pages when the site is built."""

import importlib.util
import re
import sys

import pytest

from tests.test_docs import ROOT, layers, read

pytest.importorskip("mkdocs")
pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("pyplot")

SCRIPT = '''"""
A title

An introduction.
"""

# %%
# Some *text*.
import matplotlib.pyplot as plt

x = 1
print("x is", x)

# %%
fig, ax = plt.subplots(num="A line")
ax.plot([x, 2])
plt.show()
'''


def hook(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_script_becomes_a_page():
    page = hook("gallery").page("small", SCRIPT)
    assert page.startswith("# A title\n\nAn introduction.\n\nSome *text*.\n\n```python\nimport matplotlib")
    assert "\nx is 1\n```" in page
    assert "# %%" not in page
    assert page.count("<svg") == 1
    assert 'aria-label="A line"' in page
    assert "currentColor" in page


def test_the_index_links_to_every_script():
    index = hook("gallery").index({"small": SCRIPT})
    assert '<a class="card" href="small/">' in index
    assert "<strong>A title</strong>" in index


def test_a_script_without_a_title_is_refused():
    with pytest.raises(AssertionError, match="begins with a docstring of a title"):
        hook("gallery").parse("x = 1\n")


def test_a_picture_can_be_written_to_a_file(tmp_path, monkeypatch):
    gallery = hook("gallery")
    (tmp_path / "small.py").write_text(SCRIPT)
    monkeypatch.setattr(gallery, "EXAMPLES", tmp_path)
    monkeypatch.setattr("sys.argv", ["gallery.py", "small", str(tmp_path / "small.svg")])
    gallery.main()
    svg = (tmp_path / "small.svg").read_text()
    assert svg.startswith("<svg")
    assert "background: #fff" in svg
    assert gallery.TEXT not in svg


def test_every_example_is_in_the_navigation_and_parses():
    gallery = hook("gallery")
    named = set(re.findall(r"examples/(\w+)\.md", read("mkdocs.yml"))) - {"index"}
    assert named == {path.stem for path in gallery.EXAMPLES.glob("*.py")}
    for path in gallery.EXAMPLES.glob("*.py"):
        title, introduction, blocks = gallery.parse(path.read_text())
        assert title
        assert introduction
        assert any("plt.subplot" in block.code for block in blocks)
        for block in blocks:
            compile(block.code, path.name, "exec")


def test_every_hook_is_named():
    hooks = re.search(r"^hooks: \[(.*)\]$", read("mkdocs.yml"), re.MULTILINE)[1].split(", ")
    assert sorted(hooks) == sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.py"))


def test_the_diagram_shows_every_module():
    diagram = hook("diagram")
    page = diagram.on_page_markdown(f"before\n{diagram.PLACE}\nafter")
    assert diagram.PLACE in read("docs/architecture.md")
    for module in re.findall(r"\w+", " ".join(layers())):
        assert f">{module}</text>" in page


def test_what_follows_from_other_imports_is_left_out():
    edges = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert hook("diagram").reduced(edges) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}


def test_formulas_become_mathml():
    html = r'<p><span class="arithmatex">\(a &lt; \tfrac12\)</span></p><div class="arithmatex">\[x_t\]</div>'
    page = hook("formulas").on_page_content(html)
    assert page.count("<math") == 2
    assert page.count('display="inline"') == page.count('display="block"') == 1
    assert "\\" not in page


def test_files_of_the_repository_become_pages_with_links_within_the_site():
    pages = hook("pages")
    page = pages.page("CONTRIBUTING.md")
    assert "](docs/" in read("CONTRIBUTING.md")
    assert "](docs/" not in page
    assert "](architecture.md)" in page
    assert "](changelog.md)" in page
    assert all(name in read("mkdocs.yml") for name in pages.FILES)


def test_every_export_is_on_an_api_page():
    pages = hook("pages")
    for path, module in pages.MODULES.items():
        page = pages.api(module)
        for name in importlib.import_module(module).__all__:
            assert f"::: {module}.{name}" in page
        assert path in read("mkdocs.yml")
    assert "gendiffclf" in pages.MODULES.values()


def test_pages_without_a_place_stay():
    assert hook("diagram").on_page_markdown("text") == "text"
