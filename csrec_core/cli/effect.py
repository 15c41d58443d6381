"""`csrec effect`, the effect of an arm on any log, and `csrec aa`, how often one is found where there is none."""

import click

from csrec_core.cli.program import FILE, FOLDER, cli
from csrec_core.cli.reading import chosen_options, read_guessed, reading_options
from csrec_core.errors import InputError


@cli.command(epilog="Example: csrec effect shop.csv --out out")
@click.argument("log", type=FILE)
@reading_options
@click.option(
    "--design", default="", metavar="FILE|TEXT", help="What is declared, as YAML: 'confounders: [age]'."
)
@click.option("--arm", metavar="NAME", help="Whose effect it is.  [default: system, or the largest]")
@click.option("--baseline", metavar="NAME", help="Against which arm.  [default: self, or the control]")
@click.option("--target", metavar="NAME", help="exposed, uniform or everyone.")
@click.option("--unit", metavar="NAME", help="exposures or users: what counts once.")
@click.option("--out", type=FOLDER, metavar="DIR", help="Folder for effect.json, effect.csv, log.yaml.")
@click.option("--checks/--fast", default=True, show_default=True, help="Try to refute the effect, or not.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes, for parts.")
@click.option(
    "--scheduler", default="", metavar="ADDRESS", help="A Dask cluster, for parts: tcp://host:8786."
)
def effect(log, design, arm, baseline, target, unit, out, checks, seed, workers, scheduler, **reading):
    """Estimate the effect on acceptance that an arm, such as the recommender, chose the item.

    LOG is a file or folder in any common form, read as its values suggest unless options say how; or a folder
    in parts, that csrec data mssd wrote, or with whole users in each of log/*.parquet. Prints the answer and
    what it rests on. A folder in parts needs --out, where what is done is kept; the result does not depend on
    who does the work.
    """
    from csrec_core.effect.answer import as_text, write_answer
    from csrec_core.effect.design import read_design

    stated = {"arm": arm, "baseline": baseline, "target": target, "unit": unit}
    declared = read_design(design) | {name: value for name, value in stated.items() if value is not None}
    work = {"scheduler": scheduler, "workers": workers, "seed": seed}
    estimate, options, history = _in_parts_or_memory(log, chosen_options(**reading), out, work)
    found, rows = estimate(**declared)
    own = found.design
    others = sorted(set(rows.log["source"].astype(str)) - {own.arm, own.baseline, *history})
    pairs = [estimate(**declared | {"arm": name, "baseline": own.baseline})[0] for name in others]
    if checks:
        from csrec_core.effect.checks import check_effect
        from csrec_core.effect.estimate import estimate_effect

        # Of a log in parts, which holds no rows, the users that were drawn are checked.
        held = found if found.scores else estimate_effect(rows, design=own, seed=seed)
        found = found.after(check_effect(held, rows, seed=seed))
    click.echo(as_text(found, pairs))
    if out is not None:
        from csrec_core.data.options import write_options

        write_options(options, out / "log.yaml")
        click.echo(write_answer(found, out, pairs))


def _in_parts_or_memory(path, options, out, work):
    """Return what estimates a design, with the rows to check; how they are read; and arms to leave at that."""
    from csrec_core.data.parted import PartedLog

    parts = PartedLog.find(path, options) if path.is_dir() else None
    if parts is None:
        from csrec_core.effect.estimate import estimate_effect

        dataset, options = read_guessed(path, options)

        def estimate(**declared):
            return estimate_effect(dataset, groups=True, seed=work["seed"], **declared), dataset

        return estimate, options, ()
    if out is None:
        raise InputError(f"{path} lies in parts; expected --out DIR, where what is done is kept")
    from csrec_core.data.mssd.schema import OTHER
    from csrec_core.effect.parts import estimate_parts

    history = (OTHER,) if parts.mssd else ()  # contexts of many kinds, which no effect is asked of
    return lambda **declared: estimate_parts(parts, out, **work, **declared), options, history


@cli.command(epilog="Example: csrec aa shop.csv --as out/log.yaml --times 60")
@click.argument("path", metavar="LOG", type=FILE)
@reading_options
@click.option("--design", default="", metavar="FILE|TEXT", help="What was randomised, and what is claimed.")
@click.option("--times", default=60, show_default=True, type=click.IntRange(1), help="How often.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed.")
def aa(path, design, times, seed, **chosen):
    """Deal the arms of LOG at random, again and again, and say how often an effect is found.

    There is none to find: 5% of the intervals should leave out zero. Printed beside what is found on the log.
    """
    from csrec_core.effect.aa import false_alarms
    from csrec_core.effect.design import find_design, read_design
    from csrec_core.effect.estimate import estimate_effect

    dataset, _ = read_guessed(path, chosen_options(**chosen))
    declared = find_design(dataset, **read_design(design))
    effect = estimate_effect(dataset, design=declared, seed=seed)
    found = false_alarms(dataset, design=declared, times=times, seed=seed)
    mean = effect.mean
    click.echo(f"{effect.design}\n{effect.identification.sentence}")
    click.echo(f"effect {mean['effect']:+.4f}, from {mean['lower']:+.4f} to {mean['upper']:+.4f}\n")
    click.echo(f"found with the arms dealt at random, {times} times; expected 5%")
    for row in found.itertuples():
        rate = f"{row.rate:.1%}, from {row.lower:.1%} to {row.upper:.1%}, of {row.asked}"
        click.echo(f"  {row.finding:<11} {rate if row.asked else 'never asked'}")
