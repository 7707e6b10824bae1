"""What the documentation's pages don't say twice, made while MkDocs builds them.

The command's page comes from its own help, the modules' pages from the package's list of modules,
and the changes from CHANGELOG.md; folders in the navigation stand for the pages in them. What lies
in this tree outside of docs/ is named, as the built pages can't link to it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
MODULES = "reference/modules/"
LINK = re.compile(r"(?<!!)\[([^]]+)\]\((\.\./[^)\s]+)\)")
SECTION = re.compile(r"^(Commands|Arguments|Options|Usage):", re.MULTILINE)
ASK = "import sys; from famfs import _native; sys.exit(_native.run_cli(sys.argv[1:]))"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put pages in the places of folders."""
    generated = [f"{MODULES}{name}.md" for name in modules()]
    names = {name: name.removeprefix(MODULES).removesuffix(".md") for name in generated}
    for path in sorted(Path(config.docs_dir).rglob("*.md")):
        names[path.relative_to(config.docs_dir).as_posix()] = title(path.read_text())
    config.nav = unfold(config.nav or [], names)
    return config


def title(text: str) -> str:
    r"""What a page is called in the navigation: what comes first in its heading.

    >>> title("# Ray: references between tasks\n\nThe extra...")
    'Ray'
    """
    return text.partition("\n")[0].removeprefix("# ").partition(":")[0]


def unfold(nav: list[Any], names: dict[str, str]) -> list[Any]:
    """Put pages, of which the titles are known, in the places of folders in a navigation.

    >>> unfold([{"A": "a.md"}, {"B": "b/"}, {"C": "c/"}], {"a.md": "a", "b/x.md": "X"})
    [{'A': 'a.md'}, {'B': [{'X': 'b/x.md'}]}]
    """
    found = []
    for title, item in (next(iter(entry.items())) for entry in nav):
        if isinstance(item, list):
            found.append({title: unfold(item, names)})
        elif not item.endswith("/"):
            found.append({title: item})
        elif below := [{names[name]: name} for name in names if name.startswith(item)]:
            found.append({title: below})
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    from mkdocs.structure.files import File  # noqa: PLC0415

    made = {
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(),
        "reference/command.md": command_page(),
        **{f"{MODULES}{name}.md": module_page(name) for name in modules()},
    }
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Name what lies outside of docs/ in place of linking to it; it has to be there."""
    here = PurePosixPath("docs") / PurePosixPath(page.file.src_uri).parent

    def name(found: re.Match[str]) -> str:
        target = os.path.normpath(here / found[2])
        if target.startswith("docs/"):
            return found[0]
        if not (ROOT / target).exists():
            raise FileNotFoundError(f"{page.file.src_uri} links to {target}, which is not there")
        text = found[1].strip("`")
        return f"`{target}`" if text == target else f"{found[1]} (`{target}` in the sources)"

    return LINK.sub(name, markdown)


def modules() -> list[str]:
    """The package's public modules, as it names them."""
    import famfs  # noqa: PLC0415

    return sorted(famfs._SUBMODULES)  # noqa: SLF001


def module_page(name: str) -> str:
    """A page for one module, from its docstrings."""
    return f"# famfs.{name}\n\n::: famfs.{name}\n    options:\n      show_root_heading: false\n"


def command_page() -> str:
    """The command's own help, of all commands below it too."""
    about, below = help_of("famfs")
    parts = ["# The command `famfs`", about]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, (text, further) in zip(below, pool.map(help_of, below), strict=True):
            parts += [f"## {path}", text]
            for deeper in further:
                parts += [f"### {deeper}", help_of(deeper)[0]]
    return "\n\n".join(parts) + "\n"


def help_of(path: str) -> tuple[str, list[str]]:
    """What a command says of itself, as text and a listing, and the commands below it."""
    asked = subprocess.run(
        (sys.executable, "-c", ASK, *path.split(), "--help"),
        check=True,
        capture_output=True,
        text=True,
        # As wide as a page shows without scrolling.
        env={**os.environ, "COLUMNS": "80"},
    )
    first = SECTION.search(asked.stdout)
    if first is None:
        raise ValueError(f"`{path} --help` says nothing of its usage")
    prose, listing = asked.stdout[: first.start()].strip(), asked.stdout[first.start() :].rstrip()
    commands = re.search(r"^Commands:\n((?:  .*\n)+)", listing, re.MULTILINE)
    names = re.findall(r"^  (\w+)", commands[1], re.MULTILINE) if commands else []
    below = [f"{path} {name}" for name in names if name != "help"]
    return f"{prose}\n\n```text\n{listing}\n```", below
