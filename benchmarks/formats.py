"""The shapes that people's logs have, read as `csrec data check` itself proposes: file, command, outcome.

Run: python benchmarks/formats.py [FOLDER]     (default: the folder `formats` of the reference data)
"""

import os
import sys
from pathlib import Path

from csrec_core.data.check import check_data
from csrec_core.errors import InputError

DEFAULT = Path(os.environ.get("CSREC_DATA", Path(__file__).parents[2] / "shared" / "data")) / "formats"


def outcome(path: Path) -> tuple[str, str]:
    """Return the options that a check proposes for a file, and what came of reading it so."""
    try:
        checked = check_data(path)
    except InputError as error:
        return "", f"refused: {str(error).replace(str(path), path.name)}"
    sources = checked.profile.sources
    arms = ", ".join(f"{arm} {rows:,.0f}" for arm, rows in sources["rows"].items() if rows)
    text = f"{checked.profile.facts['users']:,} users, {checked.profile.facts['items']:,} items; {arms}"
    left = "".join(f"; {rows:,} left out ({reason})" for reason, rows in checked.left_out.items())
    faults = "".join(f"; ! {fault.rows:,} {fault.what}" for fault in checked.faults)
    return checked.options.command(), text + left + faults


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    print("| file | options proposed | outcome |\n|---|---|---|")
    for path in sorted(folder.iterdir()):
        if path.name != "README.md":
            options, text = outcome(path)
            print(f"| {path.name} | `{options}` | {text} |", flush=True)


if __name__ == "__main__":
    main()
