"""A log that lies in parts, each of whole users: larger than memory, a part is not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from csrec_core.data.log import Dataset, read_log
from csrec_core.data.options import ReadOptions
from csrec_core.errors import InputError

TEXT_HASH_KEY = "csrec-text-00000"  # of the hash that numbers ids of text alike in every part


@dataclass(frozen=True)
class PartedLog:
    """A folder whose log lies in parts: that `csrec data mssd` wrote, or one with `log/*.parquet`."""

    folder: Path
    parts: tuple[str, ...]
    options: ReadOptions  # what the columns and rows of a part mean

    @classmethod
    def find(cls, folder: str | Path, options: ReadOptions | None = None) -> "PartedLog | None":
        """Return the log in parts that a folder holds; None where it holds none, or one part only."""
        folder, options = Path(folder).expanduser().resolve(), options or ReadOptions()
        if (folder / "options.json").exists():
            from csrec_core.data.mssd.part import parts_of

            parts = parts_of(folder)
            if not parts:
                raise InputError(f"{folder}: no part in it is whole; run csrec data mssd again")
            return cls(folder, tuple(parts), options)
        parts = sorted(path.stem for path in (folder / "log").glob("[!._]*.parquet"))
        return cls(folder, tuple(parts), options) if len(parts) > 1 else None

    @property
    def mssd(self) -> bool:
        """Whether these are sessions of MSSD."""
        return (self.folder / "options.json").exists()

    def file(self, part: str) -> Path:
        """Return the file of a part."""
        return self.folder / "log" / f"{part}.parquet"

    def table(self, name: str, keys: np.ndarray) -> pd.DataFrame | None:
        """Return the rows of some ids of the table of items, or of users."""
        path, key = self.folder / f"{name}.parquet", name.removesuffix("s")
        if not path.is_file():
            return None
        schema = pq.read_schema(path)
        if key not in schema.names:
            raise InputError(f"{path}: no column {key!r}; found {', '.join(schema.names)}")
        if pa.types.is_integer(schema.field(key).type):
            return pq.read_table(path, filters=pc.field(key).isin(pa.array(keys))).to_pandas()
        table = pd.read_parquet(path)
        table[key] = _hashed_ids(table[key])
        return table[table[key].isin(keys)].reset_index(drop=True)

    def columns(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield what may be a number of the whole tables, a column at a time, and whose it is: `users`, `items`."""
        for key in ("user", "item"):
            path = self.folder / f"{key}s.parquet"
            for field in pq.read_schema(path) if path.is_file() else ():
                if field.name != key and pa.types.is_primitive(field.type):
                    yield f"{key}s", pq.read_table(path, columns=[field.name]).to_pandas()

    @property
    def listed(self) -> int:
        """Items in the table of items; 0 without one."""
        path = self.folder / "items.parquet"
        return pq.read_metadata(path).num_rows if path.is_file() else 0

    def read(self, part: str) -> Dataset:
        """Read a part, with what the tables know of its users and items."""
        found = read_log(self.file(part), options=self.options)
        log = found.log
        for key in ("user", "item"):
            if (names := found.names(key)) is not None:  # text, numbered from 1 in this part alone
                numbers = pd.Series(_hashed_ids(names), index=names.index)
                log = log.assign(**{key: numbers[log[key]].to_numpy()})
        items, users = (self.table(name, log[name[:-1]].unique()) for name in ("items", "users"))
        return Dataset(log, items=items, users=users, name=self.folder.name)


def _hashed_ids(ids: pd.Series) -> np.ndarray:
    """Return ids as whole numbers: text by its hash."""
    if pd.api.types.is_integer_dtype(ids):
        return ids.to_numpy()
    from csrec_core.data.mssd.schema import whole_numbers

    return whole_numbers(ids.astype(str).to_numpy(dtype=object), TEXT_HASH_KEY)
