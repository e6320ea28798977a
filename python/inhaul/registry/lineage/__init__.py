"""The lineage of artifacts: their runs, and the graph of inputs and outputs."""
