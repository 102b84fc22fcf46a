"""Jobs: which assets run together. Not here: when (``schedules.py``), limits (``dagster.yaml``), asset bodies."""

import dagster as dg

from assets.baselines import SYSTEM_TAG
from assets.bounds import BOUNDS
from weft.models.registry import MODELS
from weft.systems.registry import SYSTEMS

INGEST = dg.AssetSelection.groups("interactions")
REPORTS = dg.AssetSelection.groups("reports")
CARD = dg.AssetSelection.assets(["reports", "card"])
SERVING = dg.AssetSelection.groups("serving")
HOUSE = dg.AssetSelection.groups("house")
CONTENT = dg.AssetSelection.groups("content")
TRIALS = dg.AssetSelection.assets(["behaviour", "trials"])


def of_systems(*systems: str) -> dg.AssetSelection:
    """The assets that exist for these systems."""
    selection = dg.AssetSelection.tag(SYSTEM_TAG, systems[0])
    for system in systems[1:]:
        selection |= dg.AssetSelection.tag(SYSTEM_TAG, system)
    return selection


def with_inputs(*systems: str) -> dg.AssetSelection:
    """The assets of these systems, and all that they are made from."""
    return of_systems(*systems).upstream().required_multi_asset_neighbors()


BASELINES = of_systems(*MODELS, *BOUNDS)

JOBS = [
    dg.define_asset_job("ingest", INGEST | CARD, description="From raw files to splits, and the data set's card."),
    dg.define_asset_job(
        "baselines",
        INGEST | BASELINES | REPORTS,
        description="Every model, the bounds of simulated data; the reports.",
    ),
    dg.define_asset_job(
        "sasrec", INGEST | of_systems("sasrec") | REPORTS, description="SASRec, its vectors; the reports."
    ),
    dg.define_asset_job(
        "features",
        INGEST | HOUSE | CONTENT,
        description="What items are about: vectors of pictures and texts, generated texts; the house models.",
    ),
    *(
        dg.define_asset_job(name, with_inputs(name) | REPORTS, description=f"{system.title}; the reports.")
        for name, system in SYSTEMS.items()
    ),
    dg.define_asset_job("all_systems", dg.AssetSelection.all() - TRIALS, description="Everything, for one data set."),
    dg.define_asset_job("tune", INGEST | TRIALS, description="Settings of models, chosen on validation."),
    dg.define_asset_job(
        "nightly_retrain",
        INGEST | of_systems("sasrec", "recent_popularity") | REPORTS | SERVING,
        description="New interactions, SASRec, reports, recommendations.",
    ),
]


def all_systems() -> dg.JobDefinition:
    """The job that ``weft run`` runs, rebuilt in every process of a run."""
    return _defined("all_systems")


def tune() -> dg.JobDefinition:
    """The job that ``weft tune`` runs."""
    return _defined("tune")


def _defined(name: str) -> dg.JobDefinition:
    from pipelines.definitions import defs  # noqa: PLC0415 - definitions import the jobs

    return defs.resolve_job_def(name)
