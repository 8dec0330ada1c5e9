"""Documents keep to their lengths, and what they name exists: links, files, commands, options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bcdcodec.benchmarks.__main__ import benchmarks
from bcdcodec.cli.main import cli

ROOT = Path(__file__).resolve().parent.parent
NOTES = sorted((ROOT / "docs/notes").glob("*.md"))  # what was true, and run, on their dates
CARDS = sorted((ROOT / "bcdcodec/weights").rglob("README.md"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *CARDS]
EVERY = [*DOCUMENTS, *NOTES, ROOT / "CHANGELOG.md", ROOT / "format-spec.md"]
MOST_LINES = {"README.md": 120, "docs/models.md": 200, "docs/training.md": 200}
MOST_COLUMNS = 120
LINES_A_VERSION = 10  # of the changelog
TREES = ("bcdcodec/", "benchmarks/", "cli/", "docs/", "tests/", "training/")
PROGRAMS = {"bcd": cli, "python -m bcdcodec.benchmarks": benchmarks}
# Words that this project once coined for what the field has a name for.
COINED = ("content picture", "painter", "pictures of change", "whose mouth", "still filter", "adversary", "opponents")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def of_each(documents: list[Path]):
    return pytest.mark.parametrize("path", documents, ids=name)


def fenced(text: str, language: str) -> list[str]:
    """The code blocks of a Markdown text in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """A Markdown text without its code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def unbroken(script: str) -> str:
    """A shell script with every command on one line, without comments."""
    return re.sub(r"(^|\s)#.*", "", script.replace("\\\n", " "))


def commands(script: str) -> Iterator[tuple[click.Group, list[str]]]:
    """Commands of ours in a shell script: the program, and its arguments."""
    for line in unbroken(script).splitlines():
        for part in re.split(r"\s(?:\||&&|>)\s", line):
            for program, group in PROGRAMS.items():
                if part.strip().startswith(program + " "):
                    yield group, shlex.split(part.strip().removeprefix(program))


def long_options(command: click.Command) -> set[str]:
    if isinstance(command, click.Group):
        return {"--help"}.union(*map(long_options, command.commands.values()))
    options = [option for option in command.params if isinstance(option, click.Option)]
    return {name for o in options for name in (*o.opts, *o.secondary_opts) if name.startswith("--")} | {"--help"}


@pytest.mark.parametrize("document", MOST_LINES)
def test_document_keeps_to_its_length(document):
    assert len((ROOT / document).read_text().splitlines()) <= MOST_LINES[document]


def test_changelog_has_at_most_ten_lines_a_version():
    versions = re.split(r"^## .*$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    lines = [[line for line in version.splitlines() if line.strip()] for version in versions]
    assert lines and max(map(len, lines)) <= LINES_A_VERSION


@of_each(EVERY)
def test_lines_of_prose_fit_into_120_columns(path):
    lines = prose(path.read_text()).splitlines()
    assert [line for line in lines if len(line) > MOST_COLUMNS and not line.startswith(("|", "!["))] == []


def test_contents_of_the_format_list_every_section():
    text = (ROOT / "format-spec.md").read_text()
    assert re.findall(r"^- \[(.+)\]\(#", text, re.MULTILINE) == re.findall(r"^## (.+)$", text, re.MULTILINE)


@of_each(EVERY)
def test_relative_links_lead_somewhere(path):
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        at = (path.parent / file).resolve() if file else path
        if not at.exists() or anchor and anchor not in anchors(at):
            missing.append(target)
    assert missing == []


@of_each([path for path in EVERY if path not in NOTES])
def test_files_of_the_project_that_are_named_exist(path):
    named = re.findall(r"`([\w./-]+)`", prose(path.read_text()))
    assert [file for file in named if file.startswith(TREES) and not (ROOT / file).exists()] == []


@of_each(DOCUMENTS)
def test_commands_in_code_blocks_are_accepted(path):
    for script in fenced(path.read_text(), "sh"):
        for group, arguments in commands(script):
            context = click.Context(group)
            verb, command, rest = group.resolve_command(context, arguments)
            command.make_context(verb, rest, parent=context)  # raises a click error that names what is wrong


@of_each(DOCUMENTS)
def test_modules_run_in_code_blocks_have_the_options_named(path):
    """Of `python -m bcdcodec.training...`: not all of those are click commands, so their source is searched."""
    shared = (ROOT / "training/recipes/run.py").read_text()
    for script in fenced(path.read_text(), "sh"):
        for module, arguments in re.findall(r"^python -m bcdcodec\.(training\S+)(.*)$", unbroken(script), re.MULTILINE):
            at = ROOT / module.replace(".", "/")
            source = shared + (at / "__main__.py" if at.is_dir() else at.with_suffix(".py")).read_text()
            assert [o for o in re.findall(r"(?<!\S)--[a-z][\w-]*", arguments) if f'"{o}"' not in source] == [], module


@of_each(DOCUMENTS)
def test_options_named_in_the_text_exist(path):
    context = click.Context(cli)
    groups = [(group, group.list_commands(context)) for group in PROGRAMS.values()]
    known = {option for group, verbs in groups for v in verbs for option in long_options(group.get_command(context, v))}
    quoted = re.findall(r"`([^`]*)`", prose(path.read_text()))
    ours = [text for text in quoted if text.startswith(("--", "bcd ", "python -m bcdcodec.benchmarks"))]
    named = {option for text in ours for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", text)}
    assert named - known == set()


def test_every_command_and_option_stands_in_the_manual():
    sections = dict(
        re.findall(r"^## bcd (\w+)\n(.*?)(?=^## |\Z)", (ROOT / "docs/cli.md").read_text(), re.MULTILINE | re.DOTALL)
    )
    verbs = cli.list_commands(click.Context(cli))
    assert list(sections) == verbs
    for verb in verbs:
        command = cli.get_command(click.Context(cli), verb)
        parts = command.commands.values() if isinstance(command, click.Group) else [command]
        for option in (option for part in parts for option in part.params):
            if isinstance(option, click.Option) and not option.hidden:
                assert f"`{option.opts[-1]}" in sections[verb], f"bcd {verb}: {option.opts[-1]} is missing"
        assert any("bcd " + verb in script for script in fenced(sections[verb], "sh")), f"bcd {verb}: no example"


@of_each(EVERY)
def test_documents_use_the_terms_of_the_field(path):
    assert [word for word in COINED if word in path.read_text().lower()] == []


def test_readme_has_one_place_for_measured_figures():
    text = (ROOT / "README.md").read_text()
    assert text.count("<!-- figures: begin -->") == text.count("<!-- figures: end -->") == 1
    assert text.index("<!-- figures: begin -->") < text.index("<!-- figures: end -->")


def test_python_example_of_the_readme_runs(tmp_path, monkeypatch):
    """With the small model in place of the default one, and a clip of three frames as the user's."""
    from fractions import Fraction

    import numpy as np

    import bcdcodec
    from bcdcodec.codec import load
    from bcdcodec.video import write_video

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bcdcodec, "load", lambda name, device: load("sprites", device=device), raising=False)
    with write_video("talk.mp4", 64, 64, Fraction(1, 25)) as writer:
        for i in range(3):
            writer.write(np.full((64, 64, 3), 60 + 40 * i, np.uint8), i)
    bcdcodec.write("face.bcd", load("sprites").encode(np.full((1, 64, 64, 3), 90, np.uint8)))
    (example,) = fenced((ROOT / "README.md").read_text(), "python")
    scope: dict = {}
    exec(compile(example, "README.md", "exec"), scope)
    assert scope["other"].shape == scope["decoded"].shape == scope["frames"].shape == (3, 64, 64, 3)
    assert (tmp_path / "talk.bcd").exists()
