"""Provenance names the code that was imported, by its content, whatever git knows."""

import hashlib
import os
import shutil
import subprocess
import sys
import textwrap
from functools import cache

import pytest

from e2m.store import paths, provenance


@cache
def loaded():
    """Files of the modules that a fresh Python knows by name after the import: "e2m/types.py", sorted."""
    code = "import sys, e2m.store.provenance as _; print(*(name for name in sys.modules if name.startswith('e2m')))"
    environment = os.environ | {"PYTHONPATH": str(paths.PACKAGE.parent)}
    names = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    files = (paths.PACKAGE.parent.joinpath(*name.split(".")) for name in names.stdout.split())
    files = (file / "__init__.py" if file.is_dir() else file.with_suffix(".py") for file in files)
    return sorted(str(file.relative_to(paths.PACKAGE.parent)) for file in files)


SHOWN = "from e2m.store import provenance; print(provenance.code())"


@pytest.fixture
def tree(tmp_path):
    """A copy of the modules that provenance needs, and of one that nobody imports."""
    (tmp_path / "tree" / "e2m" / "store").mkdir(parents=True)
    for name in loaded():
        shutil.copy(paths.PACKAGE.parent / name, tmp_path / "tree" / name)
    (tmp_path / "tree" / "e2m" / "unused.py").write_text("")
    return tmp_path / "tree"


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "core.autocrlf=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder, files="."):
    git(folder, "init", "--quiet")
    git(folder, "add", files)
    git(folder, "commit", "--quiet", "-m", "all")
    return git(folder, "rev-parse", "--short", "HEAD")


def said(tree, code=SHOWN, **variables):
    """What a process says that imports e2m from this tree."""
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"} | variables
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def by_hand(tree):
    """The hash as the docstring says: names and contents of what `import e2m.store.provenance` loads, sorted."""
    lines = [f"{name} {hashlib.sha256((tree / name).read_bytes()).hexdigest()}\n" for name in loaded()]
    return f"content {hashlib.sha256(''.join(lines).encode()).hexdigest()[:8]} of {len(loaded())} files"


def test_an_unpacked_archive_is_known_by_its_content(tree):
    assert said(tree) == by_hand(tree)


def test_a_commit_that_holds_the_files_is_named(tree):
    last = commit(tree)
    assert said(tree) == f"{by_hand(tree)}, commit {last}"


def test_files_that_differ_from_the_commit_are_named(tree):
    last = commit(tree)
    (tree / "e2m" / "unused.py").write_text("# edited")
    assert said(tree) == f"{by_hand(tree)}, commit {last}"
    with (tree / "e2m" / "store" / "paths.py").open("a") as file:
        file.write("# edited\n")
    assert said(tree) == f"{by_hand(tree)}; 1 differ from commit {last} or are not in it: e2m/store/paths.py"
    git(tree, "add", ".")
    assert "; 1 differ from commit" in said(tree)  # staged is not committed


def test_git_may_be_told_to_look_away(tree):
    commit(tree)
    git(tree, "update-index", "--assume-unchanged", "e2m/store/paths.py")
    with (tree / "e2m" / "store" / "paths.py").open("a") as file:
        file.write("# edited\n")
    assert "not in it: e2m/store/paths.py" in said(tree)


def test_a_plugin_that_nobody_committed_is_named(tree):
    last = commit(tree)
    (tree.parent / "mine").mkdir()
    (tree.parent / "mine" / "faces.py").write_text("")
    code = f"import sys; sys.path.append({str(tree.parent / 'mine')!r}); import faces\n{SHOWN}"
    text = said(tree, code)
    assert text.endswith(
        f" of {len(loaded()) + 1} files; 1 differ from commit {last} or are not in it: ../mine/faces.py"
    )
    (tree.parent / "mine" / "faces.py").write_text("x = 1")
    assert said(tree, code) != text


def test_a_repository_around_it_says_nothing_of_it(tree):
    (tree.parent / "notes.txt").write_text("")
    commit(tree.parent, "notes.txt")
    assert said(tree) == by_hand(tree)


def test_a_repository_around_it_that_holds_it_is_named(tree):
    last = commit(tree.parent)
    assert said(tree) == f"{by_hand(tree)}, commit {last}"


def test_variables_of_git_name_other_repositories(tree, tmp_path):
    last = commit(tree)
    other = tmp_path / "other"
    other.mkdir()
    (other / "a").write_text("")
    commit(other)
    variables = {"GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other), "GIT_INDEX_FILE": str(other / "none")}
    assert said(tree, **variables) == f"{by_hand(tree)}, commit {last}"


def test_line_ends_of_another_system_are_no_change(tree):
    last = commit(tree)
    for path in tree.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert said(tree) == f"{by_hand(tree)}, commit {last}"


def test_without_git_the_content_remains(tree):
    commit(tree)
    assert said(tree, PATH="/nonexistent") == by_hand(tree)


def test_names_of_any_kind(tree):
    (tree / "e2m" / "l'été $HOME.py").write_text("")
    last = commit(tree)
    code = f'import importlib; importlib.import_module("e2m.l\'été $HOME")\n{SHOWN}'
    assert said(tree, code).endswith(f"of {len(loaded()) + 1} files, commit {last}")


def test_packages_are_not_counted(tree):
    """Their versions are listed beside; the standard library and what hangs lazily in sys.modules is left out too."""
    code = f"""
        import json, sqlite3, sys, types, yaml
        class Lazy(types.ModuleType):
            def __getattr__(self, name):
                raise ImportError(name)
        sys.modules["lazy"], sys.modules["odd"] = Lazy("lazy"), 3
        {SHOWN}
    """
    assert said(tree, textwrap.dedent(code)) == by_hand(tree)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("fpu avx avx2 avx512f avx512dq avx512_bf16", " (AVX2, AVX-512, bfloat16)"),
        ("fpu avx avx2", " (AVX2)"),
        ("fpu avx", ""),
    ],
)
def test_hardware_names_the_instructions_on_which_last_digits_depend(monkeypatch, flags, named):
    about = f"model name\t: Some CPU\nflags\t\t: {flags}\n"
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(provenance.Path, "read_text", lambda *_: about)
    assert provenance._hardware() == f"Some CPU{named}"
