"""Where a run's numbers come from: data, commit, versions, time."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from csrec_core.errors import InputError
from csrec_core.files import hash_files
from csrec_core.report.report import project_folder


def about_data(path: Path | None) -> dict:
    """Return where the data lies and its hash; both are None for a run that makes its own."""
    if path is None:
        return {"path": None, "hash": None}
    if not path.exists():
        raise InputError(f"no such file or folder: {path}")
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {"path": str(path), "hash": hash_files(files)}


def git_state() -> dict | None:
    """Return the checkout's commit, and whether anything in it is not committed; None outside of one."""
    root = project_folder()
    if not (root / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def summary(manifest: Mapping, part: Mapping) -> list[str]:
    """Return the few facts shown without opening anything."""
    git = manifest["code"]["git"]
    commit = f"commit {git['commit'][:9]}{' (modified)' if git['dirty'] else ''}" if git else ""
    data = f"data {part['data_hash'][:12]}" if part.get("data_hash") else ""
    return [fact for fact in (moment(part["started"]), seconds(part), data, commit) if fact]


def facts(manifest: Mapping, part: Mapping) -> list[tuple[str, str]]:
    """Return all that is known of where the numbers of a run, or of one notebook in it, come from."""
    git = manifest["code"]["git"]
    data, used = manifest["data"], part.get("versions", manifest["versions"])
    rows = {
        "Data file": data["path"],
        "Data hash": data["hash"],
        "Hash of the log as read": part.get("data_hash"),
        "Code version": manifest["code"]["version"],
        "Git commit": git and git["commit"] + (", with changes not committed" if git["dirty"] else ""),
        "Started": moment(part["started"]),
        "Run time": seconds(part),
        "Versions": ", ".join(f"{name} {version}" for name, version in used.items()),
    }
    return [(name, value) for name, value in rows.items() if value]


def moment(iso: str) -> str:
    """Return a time of `now` as it is read."""
    return iso[:16].replace("T", " ") + " UTC"


def seconds(part: Mapping) -> str:
    """Return how long a run, or one notebook in it, took."""
    return f"{part['seconds']:,.1f} s"
