"""`csrec aa`: how often effects are found on a log where there is none."""

import click

from csrec_core.cli.program import FILE, cli
from csrec_core.cli.reading import chosen_options, read_guessed, reading_options


@cli.command(epilog="Example: csrec aa shop.csv --map user=customer_id --times 60")
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
