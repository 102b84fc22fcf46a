"""The one partition of every asset: the data set. Not here: cells (``resources/cells.py``)."""

import dagster as dg

DATASETS = dg.DynamicPartitionsDefinition(name="dataset")
