"""Raw MovieLens-1M to cleaned, split tables on disk: one module per library, each run in a process of its own."""
