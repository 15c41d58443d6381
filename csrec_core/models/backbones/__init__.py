"""Sequence encoders behind one protocol; another one is a file here and a line in `BACKBONES`."""

from importlib import import_module

from csrec_core.errors import unknown

__all__ = ["BACKBONES", "backbone_class"]

#: The file of each encoder, and its class there; names alone, so that to list them takes no torch.
BACKBONES = {
    "gru4rec": "GRU4Rec",
    "caser": "Caser",
    "sasrec": "SASRec",
    "bert4rec": "BERT4Rec",
    "fmlprec": "FMLPRec",
    "bsarec": "BSARec",
    "esasrec": "ESASRec",
}


def backbone_class(name: str):
    """Return the class of a backbone, a `csrec_core.models.backbones.encoder.Encoder`."""
    if name not in BACKBONES:
        raise unknown("backbone", name, BACKBONES)
    return getattr(import_module(f"{__name__}.{name}"), BACKBONES[name])
