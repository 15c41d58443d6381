"""Files that are either whole or absent, folders that one process at a time writes to, and what both hold."""

import errno
import fcntl
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from csrec_core.errors import InputError, one_line, readable, shown, unreadable

UNDER_WAY = ".csrec-"  # how the names of unfinished files begin: what a killed process leaves is known by it
SCRATCH = f"{UNDER_WAY}scratch-"
JSON_KINDS = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number"}
LARGEST_JSON = 2**27  # bytes of a JSON file that is read
LARGEST_YAML = 100_000  # bytes of YAML that is read
MOST_VALUES = 20_000  # values in YAML, each alias counted as all that it stands for
#: What decides the numbers, beside the code of this package.
COMPUTING = ("numpy", "pandas", "scipy", "scikit-learn", "torch")


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Name the file for which a disk has no room, as OSError: libraries raise errors of their own that name none."""
    try:
        yield
    except Exception as error:
        full = os.strerror(errno.ENOSPC)
        if getattr(error, "filename", None) or not any(each in str(error) for each in (full, "disk is full")):
            raise
        raise OSError(errno.ENOSPC, full, str(path)) from error


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, on an error removed.

    The temporary name keeps the suffix of `path`, so writers that choose a format by suffix work.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=UNDER_WAY, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with room_for(path):
            yield temporary
            temporary.chmod(0o644)
            # Renamed before its bytes are on disk, a file is there but empty after a power cut.
            _to_disk(temporary)
            temporary.replace(path)
    finally:
        with suppress(OSError):  # the folder may be gone, and what went wrong is worth more
            temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path, pattern: str = "**/") -> None:
    """Remove what killed processes left half-written below `folder`; for whoever holds its lock."""
    for path in folder.glob(f"{pattern}{UNDER_WAY}*"):
        path.unlink(missing_ok=True)


class Scratch(tempfile.TemporaryDirectory):
    """A temporary folder, held by a lock: where its process was killed, the next that makes one removes it."""

    def __init__(self):
        sweep_scratch()
        while True:
            super().__init__(prefix=SCRATCH)
            with suppress(FileNotFoundError):
                self._handle = os.open(self.name, os.O_RDONLY)
                fcntl.flock(self._handle, fcntl.LOCK_EX)
                if Path(self.name).exists():  # else another swept it before it was held
                    return

    def cleanup(self) -> None:
        """Remove it."""
        os.close(self._handle)
        super().cleanup()


def sweep_scratch() -> None:
    """Remove the temporary folders that no process holds any longer."""
    for path in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        with suppress(OSError):  # of another user, held, or removed by another process
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder for this process alone, made if need be; a dead process holds nothing.

    Raises InputError, which says who holds it and since when, unless it is to `wait`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    while True:
        with room_for(path), path.open("a+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                stream.seek(0)
                who = stream.read(200) or "another process"
                raise InputError(f"{folder}: {who} is at work in it; wait for it, or name another") from None
            # Whoever held it before may have removed it in the meantime: that one holds for nobody.
            if not path.exists() or not os.path.samestat(path.stat(), os.fstat(stream.fileno())):
                continue
            try:
                stream.truncate(0)
                stream.write(f"process {os.getpid()} on {platform.node()} since {now()}")
                stream.flush()
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def write_text(path: Path, text: str) -> Path:
    """Write a text file, whole or not at all, the same bytes on every system."""
    with whole_file(path) as temporary:
        temporary.write_bytes(text.encode())
    return path


def write_json(path: Path, content: Mapping) -> None:
    """Write a JSON file, whole or not at all; what JSON does not know is written as text."""
    write_text(path, json.dumps(content, indent=1, default=str, ensure_ascii=False) + "\n")


def read_json(path: Path, shape: object = dict) -> dict:
    """Return a JSON file's content, of a shape as in `check_shape`; else raises InputError."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"more than {LARGEST_JSON:,} bytes")
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from None
    check_shape(content, shape, str(path))
    return content


def check_shape(content: object, shape: object, where: str) -> None:
    """Raise InputError, which says where, unless what was read is of a shape; names that may be None are there then.

    A shape is a type; a tuple of shapes, any of which will do; [shape], a list of such; {name: shape}, a
    mapping with these names; {...: shape}, a mapping with any.

    Examples
    --------
    >>> check_shape({"files": {"a.png": 3}}, {"files": {...: str}}, "manifest.json")
    Traceback (most recent call last):
    csrec_core.errors.InputError: manifest.json: files.a.png is 3; expected text
    """
    if fault := _misfit(content, shape, ""):
        raise InputError(f"{where}: {fault}")


def _misfit(value: Any, shape: Any, at: str) -> str | None:
    """Say where a value is not of a shape; None where it is."""
    if isinstance(shape, tuple):
        faults = [_misfit(value, each, at) for each in shape]
        return None if None in faults else faults[-1]
    kind: Any = type(shape) if isinstance(shape, list | dict) else shape
    if not isinstance(value, kind):
        return f"{at or 'its content'} is {shown(value)}; expected {JSON_KINDS.get(kind, kind.__name__)}"
    parts: list[tuple[str, Any, Any]] = []
    if isinstance(shape, list):
        parts = [(f"{at}[{place}]", each, shape[0]) for place, each in enumerate(value)]
    elif isinstance(shape, dict):
        names = dict.fromkeys(value, shape[...]) if ... in shape else shape
        parts = [(f"{at}.{name}".lstrip("."), value.setdefault(name, None), of) for name, of in names.items()]
    return next((fault for place, each, of in parts if (fault := _misfit(each, of, place))), None)


def read_mapping(source: str | Path, where: str = "", *, typed: bool = True) -> dict:
    """Return the mapping that a text, or a file, of YAML holds: `typed`, or as text alone.

    Raises InputError, which says where, for what cannot be read, is no YAML, stands by aliases for too much, or is no
    mapping of names.
    """
    where = where or readable(source)
    try:
        if isinstance(source, Path):
            with source.open("rb") as stream:
                data = stream.read(LARGEST_YAML + 1)
        else:
            data = source.encode()
        # What is longer is not decoded: it may be cut within a letter.
        text = data.decode("utf-8-sig") if len(data) <= LARGEST_YAML else ""
    except (OSError, ValueError) as error:
        raise unreadable(where, error) from None
    if len(data) > LARGEST_YAML:
        raise InputError(f"{where}: over {LARGEST_YAML:,} bytes; expected lines 'name: value'")
    try:
        content = _load_yaml(text, typed)
    # Whatever is raised, the text is why: PyYAML lets out errors of Python's own as well, RecursionError too.
    except Exception as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        reason = one_line(str(error), 200) if isinstance(error, InputError) else f"line {line}: no YAML"
        raise InputError(f"{where}: {reason}; expected lines 'name: value'") from None
    content = {} if content is None else content
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{where}: {type(content).__name__}; expected lines 'name: value'")
    return content


def _load_yaml(text: str, typed: bool) -> object:
    import yaml

    loader = yaml.SafeLoader if typed else yaml.BaseLoader
    # A few lines of aliases to aliases can stand for more than fits into memory, so they are counted first.
    tree = yaml.compose(text, Loader=loader)
    if tree is not None and _values_in(tree, {}) > MOST_VALUES:
        raise InputError(f"its aliases stand for more than {MOST_VALUES:,} values")
    return yaml.load(text, Loader=loader)


def _values_in(node, known: dict[int, int]) -> int:
    """Return how many values a node stands for, each alias written out."""
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # what holds itself has no end
        parts = node.value if isinstance(node.value, list) else []
        flat = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_values_in(part, known) for part in flat)
    return known[id(node)]


def file_hash(path: Path) -> str | None:
    """Return the SHA-256 (hex) of a file; None where there is none."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def hash_files(paths: Iterable[str | Path]) -> str:
    """Return the SHA-256 (hex) of the names and contents of `paths`, in sorted order."""
    digest = hashlib.sha256()
    for path in sorted(map(Path, paths)):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


_version = cache(metadata.version)  # reads a file of each package, which do not change under a process


def versions(packages: Iterable[str] = COMPUTING) -> dict[str, str]:
    """Return the versions of Python and of packages."""
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def now() -> str:
    """Return the time, UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_path(text: str | Path, *, what: str = "", output: bool = False) -> Path:
    """Return a path, whole; InputError for one that no file has, or for `output` that cannot be written."""
    begin = f"{what}: " if what else ""
    try:
        path = Path(text).expanduser().resolve()
        if path.exists() and not output:
            return path
        # The nearest folder that is there decides whether what is missing can be made.
        above = next(folder for folder in (path, *path.parents) if folder.exists())
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{begin}{shown(str(text))}: no path of a file: {reason}") from None
    if output and not (above.is_dir() or above == path):
        raise InputError(f"{begin}{path}: cannot be written: {above} is no folder")
    if output:
        try:  # what the system says of permissions is not all: a disk may be full, or for reading only
            with tempfile.TemporaryFile(dir=above if above.is_dir() else above.parent):
                pass
        except OSError as error:
            raise InputError(f"{begin}{path}: cannot be written: {above}: {error.strerror}") from None
    return path
