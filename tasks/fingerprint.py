"""What a stage's result depends on besides its inputs and config: the code it runs, and the libraries.

The code is the stage's own module and all that it reaches of `sear_core` and of the task floor, found by
reading import statements (nothing is imported). A file counts by its syntax tree without docstrings, so that
comments and formatting do not cost a retraining. The task floor's shared plumbing (PLUMBING) is left out on
purpose: it decides where results go, not what they are.
"""

from __future__ import annotations

import ast
import hashlib
import json
import threading
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
PLUMBING = {
    f"tasks.{name}"
    for name in ("cache", "callbacks", "config", "fingerprint", "handles", "launch", "lineage", "model_registry",
                 "model_state", "processes", "progress", "stage", "tracking", "worker", "workspace")
}  # fmt: skip
LIBRARIES = {
    "training": ("torch", "transformers", "trl", "accelerate", "peft", "tokenizers"),
    "tables": ("pandas", "pyarrow", "datasketch"),
    "gate": ("great-expectations",),
    "report": ("mlflow",),
}


def _strip_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list) and body and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str)
        ):  # fmt: skip
            node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return tree


# CPython 3.11's ast.parse must not run in two threads at once (python/cpython#106905).
_ONE_PARSER = threading.RLock()


@cache
def file_hash(path: Path) -> str:
    """A hash of a Python file's syntax tree; of any other file's bytes."""
    data = path.read_bytes()
    if path.suffix == ".py":
        with _ONE_PARSER:
            data = ast.dump(_strip_docstrings(ast.parse(data))).encode()
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _module_file(module: str) -> Path | None:
    base = PACKAGE_ROOT.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _imports(path: Path) -> frozenset[str]:
    found: set[str] = set()
    with _ONE_PARSER:
        tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(
        name for name in found if name.split(".")[0] in ("sear_core", "tasks") and name not in PLUMBING
    )


@cache
def code_fingerprint(module: str, resources: tuple[str, ...] = ()) -> dict[str, str]:
    """{file relative to the checkout: hash} of a module, all that it reaches, and files named by glob."""
    todo = [module]
    seen = {
        path.relative_to(PACKAGE_ROOT).as_posix(): file_hash(path)
        for pattern in resources
        for path in PACKAGE_ROOT.glob(pattern)
    }
    while todo:
        path = _module_file(todo.pop())
        if path is None or (name := path.relative_to(PACKAGE_ROOT).as_posix()) in seen:
            continue
        seen[name] = file_hash(path)
        todo.extend(_imports(path))
    return dict(sorted(seen.items()))


def plug_in_hash(name: str) -> str:
    """A hash of the code behind `module:object`: its file, and what it imports from files beside it."""
    from sear_core.policy.process_rewards import plug_in_file

    todo, seen = [plug_in_file(name)], {}
    while todo:
        path = todo.pop()
        if path not in seen:
            seen[path] = file_hash(path)
            todo.extend(_beside(path) if path.suffix == ".py" else ())
    return hashlib.md5(json.dumps(sorted(seen.values())).encode(), usedforsecurity=False).hexdigest()


def _beside(path: Path) -> list[Path]:
    """The Python files that a file imports, among those in its own package's top folder (or its own folder)."""
    top = path.parent
    while (top / "__init__.py").is_file():
        top = top.parent
    with _ONE_PARSER:
        tree = ast.parse(path.read_bytes())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[node.level - 1].relative_to(top).parts if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names.update([module, *(f"{module}.{alias.name}" for alias in node.names)])
    bases = [top.joinpath(*name.split(".")) for name in sorted(names) if name]
    found = [file for base in bases for file in (base.with_suffix(".py"), base / "__init__.py")]
    return [file for file in found if file.is_file()]


def library_versions(*kinds: str) -> dict[str, str]:
    """{distribution: version} of the libraries that shape a kind of stage's results."""
    return {name: metadata.version(name) for kind in kinds for name in LIBRARIES[kind]}
