"""Speed of SASRec, one process per library and length: each ``run_*`` prints its figures as one JSON line."""
