"""The side-by-side benchmark: the same scenarios, the same constraints, one core each, in one run (``make bench``)."""
