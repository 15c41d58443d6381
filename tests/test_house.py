"""The house: one name for one thing, the field's words, and parts that are added by a file and a line of a table."""

import ast
import io
import sys
import tokenize
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import PROJECT, accepted_log

from csrec_core.data.books import simulate_books
from csrec_core.data.loaders import LOADERS, read_data
from csrec_core.effect.nuisance import LEARNERS, Model, fit_model
from csrec_core.errors import InputError
from csrec_core.models.backbones import BACKBONES
from csrec_core.models.backbones.gru4rec import GRU4Rec
from csrec_core.models.next_item import train_next_item
from csrec_core.models.sequences import to_sequences
from csrec_core.models.train import Training
from csrec_core.report.parameters import notebooks_folder, read_parameters

MODULES = sorted((PROJECT / "csrec_core").rglob("*.py"))
#: Words of our own for which the field has one.
OURS = {"deal", "deals", "dealt", "teachers", "lots", "lay_out", "at_least", "at_most", "pooling"}


def test_no_name_is_defined_in_two_modules():
    """Neither are constants and helpers that only their own module reads: who looks for one finds it."""
    where = defaultdict(set)
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            named = [target.id for target in targets if isinstance(target, ast.Name)]
            for name in [*named, *([node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else [])]:
                where[name].add(path)
    twice = {name for name, paths in where.items() if len(paths) > 1} - {"__all__"}
    assert twice == {"check", "identify"}  # commands, called as what they call


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PROJECT / "csrec_core")))
def test_names_are_the_fields_words(path):
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    assert not OURS & {token.string.lower() for token in tokens if token.type == tokenize.NAME}


def test_a_backbone_is_a_file_and_a_line(monkeypatch):
    class Toy(GRU4Rec):
        """Reads nothing of the past."""

        def encode(self, items, *more, **given):
            return super().encode(torch.zeros_like(items), *more, **given)

    monkeypatch.setitem(sys.modules, "csrec_core.models.backbones.toy", SimpleNamespace(Toy=Toy))
    monkeypatch.setitem(BACKBONES, "toy", "Toy")
    assert "toy" in read_parameters(notebooks_folder() / "03_train.ipynb")["backbone"].choices
    sequences = to_sequences(accepted_log(np.random.default_rng(0).integers(0, 9, (30, 5))), length=5)
    model, history = train_next_item(sequences, training=Training(epochs=1), backbone="toy", hidden=8)
    assert isinstance(model, Toy) and len(history) >= 1


def test_a_learner_of_nuisances_is_a_function_and_a_line(monkeypatch):
    def mean(features, target, weight, *, binary, seed):
        value = np.average(target, weights=weight)
        return Model(lambda rows: np.full(len(rows), value), 1)

    monkeypatch.setitem(LEARNERS, "mean", mean)
    features, target = pd.DataFrame({"x": np.arange(8.0)}), np.resize([0, 0, 0, 1], 8)
    assert fit_model(features, target, learner="mean").predict(features).tolist() == [0.25] * 8
    with pytest.raises(KeyError):
        fit_model(features, target, learner="median")


def test_a_source_is_a_function_and_a_line(monkeypatch, tmp_path):
    monkeypatch.setitem(LOADERS, "toy", lambda path: simulate_books(users=int(path.name), items=20, steps=3))
    assert read_data("toy", tmp_path / "25").log["user"].nunique() == 25
    with pytest.raises(InputError, match=r"unknown data 'toyy'.*did you mean 'toy'"):
        read_data("toyy", tmp_path)
