"""Every relative link in the README and in the guides leads somewhere: to a file that is there, to a heading it has."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "examples").glob("*/*.md")),
    *sorted((REPOSITORY / "infra").glob("*/*.md")),
]
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_relative_links_lead_somewhere(page: Path) -> None:
    lost = [link for link in links(page.read_text()) if not leads_somewhere(page, link)]
    assert lost == []


def test_the_guides_are_all_found_from_the_readme() -> None:
    linked = {(REPOSITORY / link.partition("#")[0]).resolve() for link in links((REPOSITORY / "README.md").read_text())}
    assert [page.name for page in sorted((REPOSITORY / "docs").glob("*.md")) if page not in linked] == []


@pytest.mark.parametrize("link", ["nothing.md", "gate.md#nothing", "../../elsewhere.md", "#nothing", "/etc/passwd"])
def test_a_link_that_leads_nowhere_is_noticed(link: str) -> None:
    assert not leads_somewhere(REPOSITORY / "docs/policies.md", link)


def links(text: str) -> list[str]:
    """The links of a page that are no addresses; those in blocks of code are code."""
    return [link for link in LINK.findall(FENCED.sub("", text)) if not re.match(r"[a-z][a-z0-9+.-]*:", link)]


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether the file of a link is there, inside the repository, and has the heading."""
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.is_relative_to(REPOSITORY.resolve()) or not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text())


def anchors(text: str) -> set[str]:
    """What a page's headings are called in links, as GitHub has it.

    Small letters; no signs but dashes and underscores; a space is a dash; the second of a name ends with ``-1``.
    """
    found: dict[str, int] = {}
    names = set()
    for heading in HEADING.findall(FENCED.sub("", text)):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return names
