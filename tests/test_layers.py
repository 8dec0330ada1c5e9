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
    "coding": "config container entropy errors model_folder models video",
    "reenactment": "coding config container errors model_folder models",
    "generation": "container errors model_folder",
    "files": "coding container device entropy errors generation model_folder reenactment video",
    "stream": "coding config container entropy errors memory model_folder models video",
    "codec": "coding container errors model_folder reenactment stream",
    "hub": "codec coding device errors model_folder",
    "distributed": "codec coding container device errors files model_folder video",
    "live": "codec coding container errors files model_folder models reenactment stream video",
}
HEAVY = {"torch", "av"}


def imports_of(path: Path) -> set[str]:
    """Full names of all that a file imports, such as `a.b.name`; also within functions and for type checkers only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def graph_of(library: Path) -> dict[str, set[str]]:
    """Module of the library (such as `coding.session`): the modules of it that it imports."""
    files = {}
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library).with_suffix("").as_posix().replace("/", ".")
        files[name.removesuffix(".__init__")] = path
    files.pop("__init__")  # it names what it loads later, so that nothing heavy is loaded before it is used

    def module_of(imported: str) -> str | None:
        """The module that a full name is of, or the name itself where it is a module."""
        name = imported.removeprefix("bcdcodec.")
        return next((found for found in (name, name.rpartition(".")[0]) if found in files), None)

    def of_library(path: Path) -> set[str]:
        return {module_of(found) for found in imports_of(path) if found.startswith("bcdcodec.")} - {None}

    return {name: of_library(path) for name, path in files.items()}


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


def test_imports_for_type_checkers_and_within_functions_count(tmp_path):
    for package, text in (
        ("a", "if TYPE_CHECKING:\n    from bcdcodec.b.two import Two"),
        ("b", "def one():\n    from bcdcodec.a import two"),
    ):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / "two.py").write_text(text)
    (tmp_path / "__init__.py").touch()
    assert graph_of(tmp_path) == {"a": set(), "a.two": {"b.two"}, "b": set(), "b.two": {"a.two"}}


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
