"""The rules of the house (CONTRIBUTING.md), each a function from a checkout to what breaks it.

They look at the text of the code and run none of it, so that `tests/test_architecture.py` can also hold them against
copies in which a rule is broken.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

# Rule 1. Files among the programs that users and both rooms look for there.
LIBRARIES = {"models/crnn.py", "models/dataset.py", "bench/errors.py", "bench/files.py", "bench/options.py"}
LIBRARIES |= {"models/util.py"}  # says where what the model zoo had there is now
COMMANDS = {"bench/sensors/cnmon.py", "bench/sensors/cndev.py"}  # type them on a bare host: docs/mlu.md

# Rule 2. What a training step calls, in this order.
STEP = ("to_device", "model", "loss", "backward", "clip", "update")
LOOP = {"step", "train_step", "set_lr", "count_step", "after_step", "meter"}  # what the measured loop may call
RECOGNISE = ("normalise", "features|network", "decode|decoder")

# Rule 4. Public names that two modules define and that mean the same: {name: reason}.
SAME_NAME: dict[str, str] = {}
MOST_SAME = 0.015  # of all public names

# Rule 7. Functions over 40 lines: {module.function: why it is one piece}.
LONG: dict[str, str] = {}

# Rule 8. Imports of our own modules inside functions: {(importing, imported): reason}.
LAZY = {
    ("models", "models.reading.recogniser"): "`import models` of every program must not take torch's seconds",
    ("models.launch", "bench.machine.launcher"): "torchrun takes a while to import; one card does without",
    ("models.serve", "models"): "--help and a missing package are answered without torch",
    ("models.serve", "models.serving.app"): "fastapi is an extra; without it a line says what to install",
    ("models.serve", "models.serving.browsers"): "starlette, likewise",
    ("models.serve", "models.serving.connections"): "uvicorn, likewise",
    ("models.serve", "models.serving.ending"): "uvicorn, likewise",
    ("bench.gate", "bench.judging.power"): "only --self-test needs numpy's and scipy's seconds",
}

# Rule 5. Where something is renamed that is no new content of a file: {path: what}.
MOVES = {
    "models/rendering/files.py": "a folder, which was filled under another name",
    "models/weights/checkpoint.py": "a damaged checkpoint, which is kept as last.damaged",
}

DIGEST = "[0-9a-f]{64}"  # SHA-256, as the manifest of weights has it

Rule = Callable[[Path], list[str]]


parsed = cache(ast.parse)  # by their text: copies that differ in one file share the rest


def modules(root: Path, *folders: str) -> dict[str, tuple[str, ast.Module]]:
    """Name -> (path from the root, syntax tree) of every module below these folders."""
    found = {}
    for folder in folders or ("models", "bench"):
        for path in sorted((root / folder).rglob("*.py")):
            relative = path.relative_to(root)
            name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            found[name] = (relative.as_posix(), parsed(path.read_text(encoding="utf8")))
    return found


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """(Qualified name, function) of every function, methods and inner ones included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")
        else:
            yield from functions(node, prefix)


def length(node: ast.FunctionDef) -> int:
    return node.end_lineno - node.lineno + 1


def is_main_check(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def programs_and_libraries(root: Path) -> list[str]:
    """Rule 1: a file in models/ or bench/ is a program, a folder is a library."""
    wrong = []
    for path, tree in modules(root).values():
        top = path.count("/") == 1
        has_main = any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
        is_program = any(map(is_main_check, tree.body))
        if top and path not in LIBRARIES and not path.endswith("__init__.py") and not (has_main and is_program):
            wrong.append(f"{path} is no program: it needs main() and `if __name__`")
        if not top and is_program and path not in COMMANDS:
            wrong.append(f"{path} is a program inside a library")
    return wrong


def calls(node: ast.AST) -> list[str]:
    """Names of what is called, in the order in which it happens: arguments before the call, lines from the top."""
    found = []
    for child in ast.iter_child_nodes(node):
        found += calls(child)
    if isinstance(node, ast.Call):
        found.append(node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func))
    return found


def missing_in_order(called: list[str], wanted: tuple[str, ...]) -> list[str]:
    """Those of `wanted` (a regular expression each, for how a name begins) that do not follow the one before."""
    missing, place = [], 0
    for want in wanted:
        after = [at for at in range(place, len(called)) if re.match(want, called[at])]
        if after:
            place = after[0] + 1
        else:
            missing.append(want)
    return missing


def visible_step(root: Path) -> list[str]:
    """Rule 2: the measured step is consecutive lines of one function, and the loop calls nothing but it and counts."""
    wrong = []
    for name, function, wanted in (("train", "train_step", STEP), ("test", "recognise", RECOGNISE)):
        path, tree = modules(root)[f"models.{name}"]
        steps = [node for own, node in functions(tree) if own.rpartition(".")[2] == function]
        if len(steps) != 1:
            wrong.append(f"{path}: no {function}()")
            continue
        if length(steps[0]) > 40:
            wrong.append(f"{path}: {function}() has {length(steps[0])} lines")
        if missing := missing_in_order(calls(steps[0]), wanted):
            wrong.append(f"{path}: {function}() does not call {', then '.join(missing)} in this order")
    loops = [
        node
        for node in ast.walk(modules(root)["models.train"][1])
        if isinstance(node, ast.For) and ast.unparse(node.iter).startswith("self.meter.steps(")
    ]
    if len(loops) != 1:
        wrong.append(f"models/train.py: {len(loops)} loops that the meter times")
    for loop in loops:
        other = {name for statement in loop.body for name in calls(statement)} - LOOP
        wrong += [f"models/train.py: the measured loop calls {name}()" for name in sorted(other)]
    return wrong


def imported(tree: ast.AST, known: set[str], typing_too: bool = False) -> Iterator[tuple[str, ast.AST]]:
    """(Module, statement) of every import in a tree; of `known` ones the module that is really meant."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not typing_too:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from ((name, node) for name in sorted(names & known) + ([node.module] if names - known else []))
        else:
            yield from imported(node, known, typing_too)


def below(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def documentation(tree: ast.AST) -> set[int]:
    """Strings that stand alone as statements: what docstrings are."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def instrument(root: Path) -> list[str]:
    """Rule 3: no torch in bench outside bench/machine; bench neither imports models nor starts its modules by name."""
    wrong, known = [], set(modules(root))
    for path, tree in modules(root, "bench").values():
        for name, _ in imported(tree, known, typing_too=True):
            if below(name, "models"):
                wrong.append(f"{path} imports {name}")
            if below(name, "torch", "torch_mlu", "torchvision") and not path.startswith("bench/machine/"):
                wrong.append(f"{path} imports {name}")
        texts = documentation(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
                started = re.search(r"^(models\.\w+)$|-m (models\.\w+)", node.value)
                if started and (started[1] or started[2]) in known:
                    wrong.append(f"{path}:{node.lineno} starts {started[1] or started[2]} by name")
    return wrong


def definitions(root: Path) -> dict[str, dict[str, str]]:
    """Public top-level name -> {path: 'class' or 'function'}."""
    where: dict[str, dict[str, str]] = defaultdict(dict)
    for path, tree in modules(root).values():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
                where[node.name][path] = "class" if isinstance(node, ast.ClassDef) else "function"
    where.pop("main", None)
    return where


def one_meaning(root: Path, allowed: dict[str, str] | None = None) -> list[str]:
    """Rule 4: a public name is defined once over models and bench, but for a few that mean the same."""
    allowed = SAME_NAME if allowed is None else allowed
    names = definitions(root)
    several = {name: paths for name, paths in names.items() if len(paths) > 1}
    wrong = [f"{name}: {', '.join(paths)}" for name, paths in several.items() if name not in allowed]
    wrong += [f"class {name}: listed" for name in allowed if "class" in several.get(name, {}).values()]
    wrong += [f"{name} is listed and is defined once" for name in allowed if name not in several]
    if len(allowed) > MOST_SAME * len(names):
        wrong.append(f"{len(allowed)} names are listed, of {len(names)} at most {MOST_SAME:.1%} may be")
    return wrong


def is_move(call: ast.Call) -> bool:
    """os.replace(a, b), os.rename(a, b), a.replace(b), a.rename(b); text.replace(a, b) is none."""
    if not isinstance(call.func, ast.Attribute) or call.keywords:
        return False
    of_os = ast.unparse(call.func.value) in ("os", "shutil")
    return call.func.attr in ("replace", "rename", "move") and len(call.args) == (2 if of_os else 1)


def one_truth(root: Path) -> list[str]:
    """Rule 5: one reader of command lines, one atomic writer, digests of weights in their manifest alone."""
    wrong = []
    for path, tree in modules(root).values():
        for name, node in imported(tree, set()):
            if below(name, "argparse", "jsonargparse", "optparse", "getopt", "click") and path != "bench/options.py":
                wrong.append(f"{path}:{node.lineno} reads a command line by itself: {name}")
        if path != "bench/files.py":
            moves = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and is_move(node)]
            wrong += [f"{path}:{line} replaces a file by itself" for line in moves[int(path in MOVES) :]]
            wrong += [f"{path} is listed in MOVES and moves nothing"] if path in MOVES and not moves else []
        wrong += [
            f"{path}:{node.lineno} holds a digest"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(DIGEST, node.value)
        ]
    return wrong


def checked_types(root: Path) -> list[str]:
    """Rule 6: mypy runs with the tests, strict for bench."""
    runs = re.search(r"^[^#\n]*\bmypy\b", (root / "run_scripts/test.sh").read_text(encoding="utf8"), re.MULTILINE)
    settings = (root / "pyproject.toml").read_text(encoding="utf8")
    wrong = [] if runs else ["run_scripts/test.sh does not run mypy"]
    if "[tool.mypy]" not in settings or not re.search(r"strict = true|--strict", settings + (runs[0] if runs else "")):
        wrong.append("pyproject.toml: no strict [tool.mypy]")
    for path, _ in modules(root).values():
        text = (root / path).read_text(encoding="utf8")
        wrong += [f"{path}: `{line.strip()}`" for line in re.findall(r".*# type: ignore(?!\[)", text)]
        wrong += [f"{path}: no check" for _ in re.findall(r"^# mypy: ignore-errors", text, re.MULTILINE)]
    return wrong


def small_functions(root: Path) -> list[str]:
    """Rule 7: none over 80 lines, and those over 40 are listed with a reason."""
    lengths = {
        f"{name}.{own}": length(node)
        for name, (_, tree) in modules(root, "models", "bench", "benchmarks").items()
        for own, node in functions(tree)
    }
    wrong = [f"{name}: {lines} lines" for name, lines in lengths.items() if lines > (80 if name in LONG else 40)]
    return wrong + [f"{name} is listed as long and is not" for name in LONG if lengths.get(name, 0) <= 40]


def no_circles(root: Path) -> list[str]:
    """Rule 8: no circle of imports, those inside functions included."""
    known = set(modules(root))
    graph = {
        name: {other for other, _ in imported(tree, known) if other in known and other != name}
        for name, (_, tree) in modules(root).items()
    }
    return [" <-> ".join(sorted(circle)) for circle in circles(graph)]


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of nodes that reach each other."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen, queue = set(), list(graph[start])
        while queue:
            node = queue.pop()
            if node not in seen:
                seen.add(node)
                queue += graph[node]
        reached[start] = seen
    groups = {frozenset(b for b in reached[a] if a in reached[b]) for a in graph if a in reached[a]}
    return [set(group) for group in groups]


def imports_at_the_top(root: Path) -> list[str]:
    """Rule 8: our own modules are imported inside functions only for a reason that is written down."""
    known = set(modules(root))
    inside = {
        (name, other)
        for name, (_, tree) in modules(root).items()
        for _, function in functions(tree)
        for other, _ in imported(function, known)
        if other in known
    }
    wrong = [f"{a} imports {b} inside a function" for a, b in sorted(inside - set(LAZY))]
    return wrong + [f"{a} no longer imports {b} inside a function" for a, b in sorted(set(LAZY) - inside)]


def no_test_imports_a_test(root: Path) -> list[str]:
    return [
        f"{path} imports {name}"
        for path, tree in modules(root, "tests").values()
        for name, _ in imported(tree, set(), typing_too=True)
        if re.search(r"(^|\.)(test_\w+|conftest)(\.|$)", name)
    ]
