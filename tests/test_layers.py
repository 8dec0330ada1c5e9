"""Imports of the library go one way: no cycle of modules, each package imports only those below it."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parent.parent / "bcdcodec"
# Package or module of the library: those that it may import, at any place in its code.
BELOW = {
    "errors": "",
    "memory": "",
    "device": "errors",
    "config": "errors",
    "presets": "config errors models",
    "entropy": "errors",
    "container": "entropy errors",
    "video": "container errors",
    "models": "config errors",
    "model_folder": "config entropy errors models",
    "coding": "config container entropy errors model_folder models",
    "reenactment": "coding config container errors model_folder models",
    "generation": "container errors model_folder",
    "files": "coding container device entropy errors generation model_folder reenactment video",
    "codec": "coding container errors model_folder reenactment",
}
HEAVY = {"torch", "av"}


def imports_of(path: Path) -> set[str]:
    """Full names of all that a file imports, also within functions and for type checkers only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def graph_of(library: Path) -> dict[str, set[str]]:
    """Module of the library (such as `coding.session`): the modules of it that it imports."""
    files = {}
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library).with_suffix("").as_posix().replace("/", ".")
        files[name.removesuffix(".__init__")] = path
    names = {f"bcdcodec.{name}": name for name in files if name != "__init__"}
    return {
        name: {names[found] for found in imports_of(path) if found in names} - {name}
        for name, path in files.items()
        if name != "__init__"
    }


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """A cycle of the graph, its first node again at the end; empty if there is none."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for following in sorted(graph[node]):
            if cycle := walk(following, [*path, node]):
                return cycle
        done.add(node)
        return []

    return next((cycle for node in sorted(graph) if (cycle := walk(node, []))), [])


def package(name: str) -> str:
    return name.split(".")[0]


@pytest.fixture(scope="module")
def graph():
    return graph_of(LIBRARY)


def test_a_cycle_is_found_and_named():
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}
    assert find_cycle(graph) == ["b", "d", "b"]
    assert find_cycle(graph | {"d": {"c"}}) == []


def test_no_module_imports_itself_through_others(graph):
    assert (cycle := find_cycle(graph)) == [], "import cycle: " + " -> ".join(cycle)


def test_every_package_imports_only_those_below_it(graph):
    assert {package(name) for name in graph} == set(BELOW), "a package is new or gone: say what it may import"
    wrong = {
        f"{name} imports {found}"
        for name, imports in graph.items()
        for found in imports
        if package(found) != package(name) and package(found) not in BELOW[package(name)].split()
    }
    assert wrong == set()
    assert find_cycle({name: set(below.split()) for name, below in BELOW.items()}) == []


def test_the_library_imports_no_command_training_or_benchmark():
    outside = ("bcdcodec.cli", "bcdcodec.training", "bcdcodec.benchmarks")
    wrong = {
        f"{path}: {name}" for path in LIBRARY.rglob("*.py") for name in imports_of(path) if name.startswith(outside)
    }
    assert wrong == set()


@pytest.mark.parametrize("name", ["container", "entropy"])
def test_reading_and_writing_bytes_needs_neither_torch_nor_av(name):
    wrong = {
        f"{path}: {found}"
        for path in (LIBRARY / name).rglob("*.py")
        for found in imports_of(path)
        if package(found) in HEAVY
    }
    assert wrong == set()
