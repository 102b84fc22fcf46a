"""The one list of models. Imports no torch: a model's class is loaded when it is first built."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from weft.errors import RequestError
from weft.models import settings as s

if TYPE_CHECKING:
    from weft.models.base import Model


@dataclass(frozen=True)
class Entry:
    """One model.

    Attributes:
        name: The system's name in every table.
        title: What it is, in one line.
        target: ``module:Class`` of the model.
        settings: Class of its settings.
        group: Asset group it is filed under.
        needs_times: Whether it cannot work on interactions without timestamps.
        main: Whether it is one of the few that stand in every run that names no systems.
        kinds: Of the protocols that it works under.
    """

    name: str
    title: str
    target: str
    settings: type[s.ModelSettings]
    group: str = "baselines"
    needs_times: bool = False
    main: bool = False
    kinds: tuple[str, ...] = ("ranking", "pointwise")

    def build(self, settings: s.ModelSettings) -> Model:
        """An unfitted model."""
        return self.load_class()(settings)

    def load_class(self) -> type[Model]:
        """The model's class; imports its module (and torch)."""
        module, name = self.target.split(":")
        return getattr(import_module(module), name)


MODELS: dict[str, Entry] = {
    entry.name: entry
    for entry in [
        Entry("popularity", "Most interactions in the training split", "weft.models.popularity:Popularity",
              s.PopularitySettings, main=True),
        Entry("recent_popularity", "Most interactions in the last days of the training split",
              "weft.models.popularity:RecentPopularity", s.RecentPopularitySettings, needs_times=True, main=True),
        Entry("itemknn", "Items that share users with the history (shrunken cosine)", "weft.models.itemknn:ItemKNN",
              s.ItemKNNSettings, main=True),
        Entry("sasrec", "Causal transformer over the history (Kang & McAuley 2018)", "weft.models.sasrec:SASRec",
              s.SASRecSettings, group="behaviour", main=True),
        Entry("gru4rec", "Gated recurrent units over the history (Hidasi et al. 2016)", "weft.models.gru4rec:GRU4Rec",
              s.GRU4RecSettings, group="behaviour"),
        Entry("narm", "GRU with attention over its states (Li et al. 2017)", "weft.models.narm:NARM", s.NARMSettings,
              group="behaviour"),
        Entry("stamp", "Attention from the last item and the mean (Liu et al. 2018)", "weft.models.stamp:STAMP",
              s.STAMPSettings, group="behaviour"),
        Entry("sknn", "Votes of the sessions with the most similar items (Jannach & Ludewig 2017)",
              "weft.models.sknn:SKNN", s.SKNNSettings, group="behaviour"),
        Entry("vsknn", "The same, newer items counting more (Ludewig & Jannach 2018)", "weft.models.sknn:VSKNN",
              s.VSKNNSettings, group="behaviour"),
        Entry("srgnn", "Gated network over the session's graph (Wu et al. 2019)", "weft.models.srgnn:SRGNN",
              s.SRGNNSettings, group="behaviour"),
        Entry("tagnn", "SR-GNN with attention from each candidate (Yu et al. 2020)", "weft.models.tagnn:TAGNN",
              s.TAGNNSettings, group="behaviour"),
        Entry("gcegnn", "Graphs of the session and of all sessions (Wang et al. 2020)", "weft.models.gcegnn:GCEGNN",
              s.GCEGNNSettings, group="behaviour"),
        Entry("dhcn", "S²-DHCN: the hypergraph of sessions, in two channels (Xia et al. 2021)", "weft.models.dhcn:DHCN",
              s.DHCNSettings, group="behaviour"),
        Entry("mf_bpr", "Matrix factorisation, taken above not taken (Rendle et al. 2009)",
              "weft.models.mf_bpr:MFBPR", s.MFBPRSettings, group="behaviour"),
        Entry("ncf", "A small network on the two vectors of user and item (He et al. 2017)", "weft.models.ncf:NCF",
              s.NCFSettings, group="behaviour"),
        Entry("lightgcn", "Vectors smoothed over the graph of who took what (He et al. 2020)",
              "weft.models.lightgcn:LightGCN", s.LightGCNSettings, group="behaviour"),
        Entry("sgl", "LightGCN and a contrast of two graphs with edges left out (Wu et al. 2021)",
              "weft.models.sgl:SGL", s.SGLSettings, group="behaviour"),
        Entry("xsimgcl", "LightGCN with noise, contrasted with one of its layers (Yu et al. 2023)",
              "weft.models.xsimgcl:XSimGCL", s.XSimGCLSettings, group="behaviour"),
        Entry("din", "Attention of the judged item over the history (Zhou et al. 2018)", "weft.models.din:DIN",
              s.DINSettings, group="behaviour", kinds=("pointwise",)),
        Entry("bert4rec", "Transformer that sees both sides of a hidden item (Sun et al. 2019)",
              "weft.models.bert4rec:BERT4Rec", s.BERT4RecSettings, group="behaviour"),
        Entry("core", "Mixture of the items read, weighted by a transformer (Hou et al. 2022)",
              "weft.models.core:CORE", s.CORESettings, group="behaviour"),
        Entry("cl4srec", "SASRec that tells histories apart by their changed copies (Xie et al. 2022)",
              "weft.models.cl4srec:CL4SRec", s.CL4SRecSettings, group="behaviour"),
        Entry("fpmc", "Factors of the user and of the last item (Rendle et al. 2010)", "weft.models.fpmc:FPMC",
              s.FPMCSettings, group="behaviour"),
    ]
}  # fmt: skip


def entry(name: str) -> Entry:
    """The model called ``name``.

    Raises:
        RequestError: If there is none.
    """
    if name not in MODELS:
        raise RequestError(f"there is no system {name!r}", f"choose from {', '.join(MODELS)}")
    return MODELS[name]
