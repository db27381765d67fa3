"""The job's folders form layers: imports point downwards only, and the lower layers need no Django."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import tutor_transform_logs.lms_job

FOLDER = Path(tutor_transform_logs.lms_job.__file__).parent
REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = sorted(FOLDER.rglob("*.py"))
PUBLISHED = sorted([*FOLDER.parent.rglob("*.py"), *(REPOSITORY / "docs").glob("*.py"), REPOSITORY / "setup.py"])
GIVEN_REASON = re.compile(r"\b(six|seven|eight|nine) parameters: ", re.IGNORECASE)
LAYERS = (
    "util", "config", "model", "storage", "read", "deliver", "ledger", "fast_path", "transform", "plan", "work",
    "report", "check", "gaps", "verify", "phases", "__main__",
)  # fmt: skip
IN_THE_IMAGE = {
    "boto3", "botocore", "django", "event_routing_backends", "eventtracking", "libcloud", "psutil", "requests",
    "tincan", "tqdm", "urllib3", "zstandard", "opaque_keys", "common", "openedx",
}  # fmt: skip
# What may be imported in a Python that has only the standard library.
STANDARD_LIBRARY_ONLY = ("util", "config", "model", "read", "ledger", "plan")


def name_of(path: Path) -> str:
    return str(path.relative_to(FOLDER))


def layer_of(path: Path) -> str:
    return path.relative_to(FOLDER).with_suffix("").parts[0]


def layers_imported(path: Path) -> Iterator[str]:
    """The layers that a module imports from, its own included."""
    package = path.relative_to(FOLDER).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= len(package) + 1, f"{name_of(path)} imports from outside lms_job/"
            base = (*package[: len(package) - node.level + 1], *(node.module or "").split("."))
            found = [name for name in base if name]
            yield from [found[0]] if found else [alias.name for alias in node.names]


def test_imports_point_downwards() -> None:
    graph: dict[str, set[str]] = {layer: set() for layer in LAYERS}
    for path in MODULES:
        if path.name != "__init__.py":
            graph[layer_of(path)] |= set(layers_imported(path)) - {layer_of(path)}
    # Any order that the imports allow would do; a cycle raises.
    TopologicalSorter(graph).prepare()
    upwards = [
        f"{layer} -> {other}"
        for layer, others in graph.items()
        for other in others
        if LAYERS.index(other) > LAYERS.index(layer)
    ]
    assert upwards == []


def test_the_layers_in_the_documentation_are_these() -> None:
    text = (REPOSITORY / "docs/architecture.rst").read_text(encoding="utf-8")
    rows = re.findall(r"^   \* - (.+)$", text, re.MULTILINE)[1:]
    assert [name for row in rows for name in re.findall(r"``(\w+)``", row)] == list(LAYERS)


@pytest.mark.parametrize("folder", STANDARD_LIBRARY_ONLY)
def test_a_lower_layer_needs_the_standard_library_alone(folder: str) -> None:
    """``-S``: without the packages of this environment."""
    modules = [
        ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts) for path in (FOLDER / folder).glob("*.py")
    ]
    code = (
        "import sys, importlib; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print({n.partition('.')[0] for n in set(sys.modules) - before} - set(sys.stdlib_module_names) - {'lms_job'})"
    )
    command = [sys.executable, "-S", "-c", code, str(FOLDER.parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "set()"


def packages_imported(path: Path) -> set[str]:
    """The packages that a module imports, by statement or by name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0 and node.module:
                found.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            [name] = node.args
            # Where it is not text alone, it is text behind the name of ERB's package, or a module of tincan.
            text = re.sub(
                r"^(\{(\w+\.)?ERB\}|ERB$)", "event_routing_backends", ast.unparse(name).removeprefix("f").strip("'")
            )
            text = text.removesuffix(".{name}")
            if text.startswith("{__package__}."):
                continue
            assert re.fullmatch(r"[\w.]+", text), f"{path.name}: {ast.unparse(node)} imports something unknown"
            found.add(text)
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_needs_only_what_the_image_has(path: Path) -> None:
    packages = {name.partition(".")[0] for name in packages_imported(path)}
    assert packages <= set(sys.stdlib_module_names) | IN_THE_IMAGE | {"__future__"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_names_neither_the_demo_nor_a_database(path: Path) -> None:
    assert not re.search(r"tutor_demo|\bdemo\b|sqlite", path.read_text().lower())


def test_three_modules_are_outside_the_folders() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.py")) == ["__init__.py", "__main__.py", "phases.py"]


def path_in_repository(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def functions(text: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def parameters(arguments: ast.arguments) -> list[str]:
    """The names of all parameters, ``*args`` and ``**kwargs`` too, but for the object or class itself."""
    rest = (argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None)
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *rest)
    return [argument.arg for argument in every if argument.arg not in ("self", "cls")]


def too_large(text: str) -> Iterator[str]:
    """What in this module is too large to read, with more parameters than five for no given reason, too."""
    if len(text.splitlines()) > 400:
        yield "over 400 lines"
    for function in functions(text):
        assert function.end_lineno is not None
        if function.end_lineno - function.lineno >= 60:
            yield f"{function.name}: over 60 lines"
        names = parameters(function.args)
        # The reason is in the docstring, or in a comment where the docstring is a command's help.
        if len(names) > 5 and not GIVEN_REASON.search(ast.get_source_segment(text, function) or ""):
            yield f"{function.name}: {names}, without a reason"


@pytest.mark.parametrize("path", PUBLISHED, ids=path_in_repository)
def test_modules_and_functions_are_of_a_size_to_read(path: Path) -> None:
    assert list(too_large(path.read_text(encoding="utf-8"))) == []


def test_the_sizes_are_of_all_kinds_of_functions_and_parameters() -> None:
    found = [
        *too_large("async def long():\n" + "    pass\n" * 60),
        *too_large("async def f(a, /, b, c, *, d, **e): ..."),
        *too_large("async def f(a, /, b, c, *d, e, **f): ..."),
        *too_large("class A:\n    def f(self, a, b, c, d, e): ..."),
        *too_large('def f(a, b, c, d, e, f):\n    """Six parameters: there is a reason."""'),
        *too_large("\n" * 401),
    ]
    assert found == [
        "long: over 60 lines",
        "f: ['a', 'b', 'c', 'e', 'd', 'f'], without a reason",
        "over 400 lines",
    ]


# Names with several definitions that mean the same: the reason.
SAME_MEANING = {
    "CONNECT_TIMEOUT": "how long to wait for a connection, for each kind of server",
    "SETTINGS": "those of the job, and on the host these with its own",
    **dict.fromkeys(("Key", "T"), "type variables"),
}


def constants_and_classes(path: Path) -> Iterator[str]:
    """The names without an underscore that a module defines for constants, classes and types."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names = [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        else:
            continue
        yield from (name for name in names if name[0].isupper())


def test_a_name_means_one_thing() -> None:
    # The demo's LMS has the modules and names of the real one.
    paths = [path for path in FOLDER.parent.rglob("*.py") if FOLDER.parent / "demo/lms" not in path.parents]
    modules: dict[str, list[str]] = {}
    for path in paths:
        for name in set(constants_and_classes(path)):
            modules.setdefault(name, []).append(path_in_repository(path))
    several = {name: sorted(found) for name, found in modules.items() if len(found) > 1}
    assert {name: found for name, found in several.items() if name not in SAME_MEANING} == {}
    assert several.keys() == SAME_MEANING.keys()
