"""Sequence encoders behind one protocol; another one is a file here and a line in `BACKBONES`."""

from csrec_core.models.backbones.bert4rec import BERT4Rec
from csrec_core.models.backbones.bsarec import BSARec
from csrec_core.models.backbones.caser import Caser
from csrec_core.models.backbones.encoder import Encoder
from csrec_core.models.backbones.esasrec import ESASRec
from csrec_core.models.backbones.fmlprec import FMLPRec
from csrec_core.models.backbones.gru4rec import GRU4Rec
from csrec_core.models.backbones.sasrec import SASRec

__all__ = ["BACKBONES", "BERT4Rec", "BSARec", "Caser", "ESASRec", "Encoder", "FMLPRec", "GRU4Rec", "SASRec"]

BACKBONES: dict[str, type[Encoder]] = {
    "gru4rec": GRU4Rec,
    "caser": Caser,
    "sasrec": SASRec,
    "bert4rec": BERT4Rec,
    "fmlprec": FMLPRec,
    "bsarec": BSARec,
    "esasrec": ESASRec,
}
