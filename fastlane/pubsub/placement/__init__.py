"""Which broker stands behind a topic, whether it can keep what was declared, and what it lacks at boot."""
