"""What the file of a module defines: its functions with their default values, its classes, and what it imports."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib.abc
import importlib.util
import inspect
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

# A code object reduced to what its source decides. (Code objects of equal sources differ where Python has adapted them
# to what ran, or where coverage is measured.)
Key = tuple[Any, ...]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_BUILTINS = frozenset(name for name in dir(builtins) if not name.startswith("_"))
DESCRIPTORS: dict[str, type] = {"staticmethod": staticmethod, "classmethod": classmethod, "property": property}
# What Python makes a descriptor of by itself.
_IMPLICIT = {"__new__": staticmethod, "__init_subclass__": classmethod, "__class_getitem__": classmethod}


class Import(NamedTuple):
    """``name`` in the module is ``name_there`` in the module ``source``; with ``""``, it is that module itself."""

    name: str
    source: str
    name_there: str


class Compiled:
    """What the file of a module defines.

    Raises :class:`ImportError`, :class:`OSError` or :class:`SyntaxError` if it can't be read.
    """

    def __init__(self, module: types.ModuleType) -> None:
        self.functions: dict[str, set[Key]] = {}
        """Name, with the classes it is in, of each function -> its code (several, if it is defined more than once)."""
        self.descriptors: dict[str, type | None] = {}
        """The same name -> the type of descriptor that its decorator makes of it; ``None`` for a plain function."""
        self.classes: dict[str, tuple[Any, ...] | None] = {}
        """Name, with the classes it is in, of each class -> its bases; ``None`` if the file does not tell them."""
        self.imports: list[Import] = []
        self.codes: dict[Key, str] = {}
        """The code of each function, of those inside of functions too -> its default values (see
        :func:`default_values`); ``""`` if the file does not tell them.
        """
        loader = module.__spec__.loader if module.__spec__ else None
        code, source = None, None
        if isinstance(loader, importlib.abc.InspectLoader):
            code, source = loader.get_code(module.__name__), loader.get_source(module.__name__)
        if code is None or source is None:
            raise ImportError(f"the code of {module.__name__} can't be read")
        tree = ast.parse(source)
        self._namespace = vars(module)
        statements = list(_statements(tree))
        self._definitions = {_place(node): node for node in statements if isinstance(node, Definition)}
        for nested in _nested(code):
            self.codes[key_of(nested)] = self._defaults(nested)
        self._add(code, "")
        self._add_imports(tree, module.__package__ or "")
        own = {name.id for node in statements for name in _targets(node)}
        own |= self.functions.keys() | self.classes.keys() | {found.name for found in self.imports}
        self.builtins = _BUILTINS - own
        """The names that are Python's own in the file."""

    def _add(self, code: types.CodeType, prefix: str) -> None:
        for const in code.co_consts:
            if not isinstance(const, types.CodeType) or const.co_name.startswith("<"):
                continue
            name = f"{prefix}{const.co_name}"
            if const.co_flags & inspect.CO_OPTIMIZED:
                self.functions.setdefault(name, set()).add(key_of(const))
                self.descriptors[name] = self._descriptor(const)
            else:
                self.classes[name] = self._bases(const)
                self._add(const, f"{name}.")

    def _descriptor(self, code: types.CodeType) -> type | None:
        for decorator in getattr(self._definition(code), "decorator_list", ()):
            if isinstance(decorator, ast.Name) and decorator.id in DESCRIPTORS:
                return DESCRIPTORS[decorator.id]
            if isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "getter", "deleter"):
                return property
        return _IMPLICIT.get(code.co_name)

    def _definition(self, code: types.CodeType) -> Definition | None:
        return self._definitions.get((code.co_name, code.co_firstlineno))

    def _bases(self, code: types.CodeType) -> tuple[Any, ...] | None:
        node = self._definition(code)
        assert isinstance(node, ast.ClassDef)
        try:
            return tuple(self._value(base) for base in node.bases) or (object,)
        except (ValueError, AttributeError):
            return None

    def _defaults(self, code: types.CodeType) -> str:
        node = self._definition(code)
        if node is None or isinstance(node, ast.ClassDef):
            return ""
        try:
            positional = tuple(self._value(default) for default in node.args.defaults)
            by_name = {
                argument.arg: self._value(default)
                for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                if default is not None
            }
        except (ValueError, AttributeError):
            return ""
        return repr((positional or None, by_name or None))

    def _value(self, node: ast.expr) -> Any:
        """A literal, or a global variable and its attributes. Of others: ``ValueError``, ``AttributeError``."""
        if isinstance(node, ast.Name):
            return self._namespace[node.id] if node.id in self._namespace else getattr(builtins, node.id)
        if isinstance(node, ast.Attribute):
            return getattr(self._value(node.value), node.attr)
        return ast.literal_eval(node)

    def _add_imports(self, tree: ast.Module, package: str) -> None:
        todo: list[ast.stmt] = list(tree.body)
        while todo:
            node = todo.pop()
            if isinstance(node, ast.ImportFrom):
                source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                self.imports += [Import(alias.asname or alias.name, source, alias.name) for alias in node.names]
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    self.imports.append(Import(alias.asname or first, alias.name if alias.asname else first, ""))
            elif isinstance(node, (ast.Try, ast.If)):
                todo += node.body
        self.imports.sort()


@functools.cache
def compiled(module: types.ModuleType) -> Compiled:
    """What the file of ``module`` defines. Raises as :class:`Compiled`."""
    return Compiled(module)


def key_of(code: types.CodeType) -> Key:
    """Equal for code objects of equal sources at the same place of a file."""
    consts = tuple(
        key_of(const) if isinstance(const, types.CodeType) else (type(const).__name__, const)
        for const in code.co_consts
    )
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (*names, code.co_firstlineno, code.co_flags, code.co_code, consts)


def default_values(function: types.FunctionType) -> str:
    """The values that parameters have if nothing is passed, as text."""
    return repr((function.__defaults__, function.__kwdefaults__))


def _place(node: Definition) -> tuple[str, int]:
    """The name and the first line of the code object that Python makes of a definition."""
    return node.name, min(line.lineno for line in (node, *node.decorator_list))


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """All statements in ``node``, without the expressions in them."""
    for name in ("body", "orelse", "handlers", "finalbody"):
        for inner in getattr(node, name, None) or ():
            if isinstance(inner, ast.stmt):
                yield inner
            yield from _statements(inner)


def _targets(node: ast.stmt) -> list[ast.Name]:
    """The variables to which a statement assigns."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target for target in targets if isinstance(target, ast.Name)]


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield const
            yield from _nested(const)
