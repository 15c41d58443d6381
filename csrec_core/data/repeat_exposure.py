"""The same item exposed to a user again, and lists of items shown at once: what they do to acceptance."""

import pandas as pd

from csrec_core.data.log import SYSTEM, Dataset
from csrec_core.metrics import resample
from csrec_core.numbers import interval, share

FEWEST_USERS, FEWEST_EVENTS = 20, 5  # of a point: users, and exposures of either decision


def repeat_curve(
    dataset: Dataset, *, arm: str = SYSTEM, most: int = 4, seed: int = 0, **options
) -> pd.DataFrame:
    """Return acceptance of what an arm exposes, by how often it exposed the item to the user before.

    Descriptive: an item that is exposed again and again may be one that this user likes less. Numbers with
    fewer than 20 users, or 5 exposures of either decision, are put together with the one below.

    Exposures beyond the `most`-th are counted together; `options` go to `csrec_core.metrics.resample`.

    Returns `earlier` (exposures before this one, from 0) as text, `2+` or `1 to 2` where put together, `accepted` (the
    mean) with `lower`, `upper`, bootstrapped over users, `rows`, `users`. Empty where none is enough.
    """
    rows = dataset.log[dataset.log["source"] == arm]
    earlier = rows.groupby(["user", "item"]).cumcount().clip(upper=most)
    points = [[number] for number in sorted(earlier.unique())]
    for at in range(len(points) - 1, -1, -1):
        own = rows[earlier.isin(points[at])]
        rare = own["decision"].value_counts().reindex([0, 1], fill_value=0).min()
        if own["user"].nunique() < FEWEST_USERS or rare < FEWEST_EVENTS:
            short = points.pop(at)
            if at:
                points[at - 1] += short
    found = []
    for numbers in points:
        users = rows[earlier.isin(numbers)].groupby("user")["decision"].agg(["sum", "size"])
        lower, upper = resample(
            users.to_numpy(), lambda sums: sums[..., :1] / sums[..., 1:], seed=seed, **options
        )
        name = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
        name = f"{numbers[0]}+" if numbers[-1] == most else name
        mean = users["sum"].sum() / users["size"].sum()
        found.append((name, mean, lower[0], upper[0], users["size"].sum(), len(users)))
    return pd.DataFrame(found, columns=["earlier", "accepted", "lower", "upper", "rows", "users"])


def repeat_finding(curve: pd.DataFrame) -> tuple[str, dict[str, tuple[float, float, float]]]:
    """Say how acceptance at the last number of earlier exposures differs from that at the first exposure.

    Takes a `repeat_curve` of two rows or more. Returns the sentence, and its numbers as (value, lower, upper).
    """
    ends = curve.iloc[[0, -1]][["accepted", "lower", "upper"]].astype(float)
    first, last = ends.itertuples(index=False, name=None)
    apart = last[2] < first[1] or first[2] < last[1]
    verb = ("falls" if last[0] < first[0] else "rises") if apart else "does not clearly change"
    said = [
        f"{share(rate)} {interval(lower, upper, share)} after {number}"
        for (rate, lower, upper), number in zip((first, last), curve["earlier"].iloc[[0, -1]], strict=True)
    ]
    text = f"Acceptance {verb} with earlier exposures of the item to the user: {', '.join(said)} (no effect)."
    return text, {"accepted_at_first_exposure": first, "accepted_after_most_exposures": last}


def list_warnings(dataset: Dataset, *, arm: str = SYSTEM) -> list[str]:
    """Say whether an arm shows lists of which one item is accepted; empty where there is no sign of it.

    Exposures of a user with the same `timestamp` are taken for one list.
    """
    rows = dataset.log[dataset.log["source"] == arm]
    if "timestamp" not in rows.columns or rows.empty:
        return []
    lists = rows.groupby(["user", "timestamp"])["decision"].agg(["sum", "size"])
    lists = lists[lists["size"] > 1]
    if lists["size"].sum() < 0.5 * len(rows):
        return []
    single = (lists["sum"] == 1).mean()
    if single < 0.9:
        return []
    return [
        f"{single:.1%} of the {len(lists):,} lists that {arm} showed have exactly one accepted item: "
        f"a decision tells which item of its list was best, and acceptance ({rows['decision'].mean():.3f}) "
        f"tells little more than how long the lists are ({lists['size'].mean():.1f} items on average)."
    ]
