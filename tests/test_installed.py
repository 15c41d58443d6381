"""What is handed over is whole: the package built, installed where nothing can be written, and run from elsewhere."""

import os
import subprocess
import sys
import tarfile

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT

TEMPLATES = PROJECT / "csrec_core" / "report" / "templates"
#: The first line of a page of the documentation that goes into every run, and the templates that can be read.
SHIPPED = """
from csrec_core.report.markup import TEMPLATES
from csrec_core.report.parameters import shipped_folder
print((shipped_folder("docs") / "reading-a-report.md").read_text("utf-8").splitlines()[0])
for name in TEMPLATES.list_templates(filter_func=lambda name: "/" not in name and name.endswith(".html.j2")):
    TEMPLATES.get_template(name)
    print(name)
"""
BUILD = [sys.executable, "-m", "hatchling", "build"]


def call(*words, folder, **env):
    """Run a command in a folder and return what it prints; fail with what it says where it fails."""
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=os.environ | env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of the package, installed from the wheel of its sdist; nobody may write to it."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: no wheel is built")
    place = tmp_path_factory.mktemp("built")
    call(*BUILD, "-t", "sdist", "-d", place, folder=PROJECT)
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(place, filter="data")
    call(*BUILD, "-t", "wheel", "-d", place, folder=place / archive.name.removesuffix(".tar.gz"))
    (wheel,) = place.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    call(*pip, "--target", place / "site", wheel, folder=place)
    paths = [place / "site", *(place / "site").rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield place / "site"
    for path in paths:
        path.chmod(0o755)  # for the temporary folder to be removed


def contents(folder):
    """Return every file of a folder, with its size and the time it was changed."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_the_package_runs_from_where_nothing_can_be_written(installed, tmp_path):
    before = contents(installed)
    away = tmp_path / "away"
    away.mkdir()
    env = {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}  # root may write anywhere
    csrec = [sys.executable, "-m", "csrec_core"]

    found = "import csrec_core; print(csrec_core.__file__)"
    assert call(sys.executable, "-c", found, folder=away, **env).startswith(str(installed))
    assert "effect" in call(*csrec, "--help", folder=away, **env)
    notebooks = call(*csrec, "list", folder=away, **env)
    assert all(path.stem in notebooks for path in (PROJECT / "notebooks").glob("*.ipynb"))
    guide, *templates = call(sys.executable, "-c", SHIPPED, folder=away, **env).splitlines()
    assert guide == "# How to read these reports"
    assert templates == sorted(path.name for path in TEMPLATES.glob("*.html.j2"))
    assert list(away.iterdir()) == []

    random, rows = np.random.default_rng(1), 400
    log = pd.DataFrame({"user": np.arange(rows) // 8, "t": np.arange(rows) % 8})
    log["item"], log["source"] = random.integers(0, 9, rows), random.choice(["self", "system"], rows)
    log["decision"] = random.integers(0, 2, rows)
    log.to_csv(tmp_path / "log.csv", index=False)
    said = call(*csrec, "effect", tmp_path / "log.csv", "--fast", "--out", "out", folder=away, **env)
    assert "400 exposures of 50 users" in said
    assert sorted(path.name for path in away.iterdir()) == ["out"]
    assert {"effect.json", "effect.csv", "log.yaml"} <= {path.name for path in (away / "out").iterdir()}
    assert contents(installed) == before
