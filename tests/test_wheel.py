"""The wheel that users install works where the source cannot be reached."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("storage", "trajectories", "models", "tools", "reflection", "planners", "engine", "training", "service")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# The hook of the editable install, where there is one, would answer for the wheel.
PROBE = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
sys.path[:] = [sys.argv[1], *(path for path in sys.path if "__editable__" not in path)]
"""


def run(*command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that must succeed, with nothing of ours on its path."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COVERAGE", "PIP_"))}
    done = subprocess.run(command, cwd=cwd, env=outside | env, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no earlier build leaks into it and none is left behind."""
    copy = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]):
        shutil.copy(ROOT / name, copy)
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", "out", cwd=copy)
    (built,) = (copy / "out").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-warn-conflicts"),
        *("--disable-pip-version-check", "--no-compile", "--target", str(target), str(wheel)),
        cwd=target,
    )
    return target


def members(wheel: Path) -> set[PurePosixPath]:
    with zipfile.ZipFile(wheel) as archive:
        return {PurePosixPath(name) for name in archive.namelist()}


def python(installed: Path, cwd: Path, code: str, *arguments: str) -> str:
    command = (sys.executable, "-I", "-B", "-c", PROBE + code, str(installed), *arguments)
    return run(*command, cwd=cwd).stdout


def test_surefoot_is_the_only_name_that_the_wheel_takes(wheel: Path) -> None:
    tops = {member.parts[0] for member in members(wheel)}
    assert tops == {"surefoot", f"surefoot-{PROJECT['version']}.dist-info"}


def test_every_file_of_a_package_is_in_the_wheel(wheel: Path) -> None:
    """Modules, weights, templates of migrations, type markers: whatever lies in a folder is needed there."""
    sources = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    wanted = {PurePosixPath("surefoot", path.relative_to(ROOT)) for path in sources if "__pycache__" not in path.parts}
    assert wanted - members(wheel) == set()
    assert {PurePosixPath("surefoot", folder, "py.typed") for folder in FOLDERS} <= members(wheel)


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 40_000_000


def test_the_wheel_runs_without_its_source(installed: Path, tmp_path: Path) -> None:
    code = (
        "from surefoot import engine; from surefoot.service import cli; print(engine.__file__, cli.__file__, sep='\\n')"
    )
    for file in python(installed, tmp_path, code).splitlines():
        assert Path(file).is_relative_to(installed)


def test_every_module_of_the_wheel_can_be_imported(wheel: Path, installed: Path, tmp_path: Path) -> None:
    modules = [member.with_suffix("") for member in members(wheel) if member.suffix == ".py"]
    # Alembic runs its own environment and versions; they are no modules to import.
    names = sorted(
        ".".join(path.parts) for path in modules if "migrations" not in path.parts and path.name != "__main__"
    )
    code = """
import importlib
for name in sys.argv[2:]:
    print(importlib.import_module(name.removesuffix(".__init__")).__file__)
"""
    files = python(installed, tmp_path, code, *names).splitlines()
    assert len(files) == len(names)
    assert [file for file in files if not Path(file).is_relative_to(installed)] == []


def test_the_command_of_the_wheel_says_its_version(installed: Path, tmp_path: Path) -> None:
    code = "from surefoot.service.cli.app import main; sys.argv[:] = ['surefoot', '--version']; main()"
    assert PROJECT["version"] in python(installed, tmp_path, code)
