import pandas as pd

from csrec_core.causal.audit import audit, graph_meaning, logging_advice
from csrec_core.causal.graph import sequential_graph

LOG = pd.DataFrame({"source": ["self", "system"], "propensity": [float("nan"), 0.1]})


def told(log=LOG, *, preferences_measured=False, **options):
    checked = audit(sequential_graph(2, **options), 2, certificates=False)
    advice = logging_advice(checked, log, preferences_measured=preferences_measured)
    return graph_meaning(checked), advice


def test_what_may_be_compared_follows_from_the_graph():
    assert "can be compared" in told()[0]
    assert "can be compared" in told(extra=[("S[t-1]", "P[t]")])[0]
    assert "changing preferences is left out" in told(extra=[("S[t-1]", "P[t]")])[0]
    assert "something unmeasured moves both" in told(latent=[("S[t]", "D[t]")])[0]
    assert "must not be taken for the other" in told(regime="acceptance")[0]
    assert "misses a way in which the past acts" in told(extra=[("D[t-1]", "P[t]")])[0]


def test_what_to_log_follows_from_what_is_logged():
    assert (
        "log the chance of every self exposure (the column propensity) (system exposures have it)"
        in told()[1]
    )
    bare = LOG.drop(columns="propensity")
    assert "every self and system exposure" in told(bare)[1]
    assert "go on logging it" in told(LOG.assign(propensity=0.1))[1]
    assert "nothing more has to be logged" in told(preferences_measured=True)[1]
    assert told(latent=[("S[t]", "D[t]")])[1].startswith("Randomise a share")
