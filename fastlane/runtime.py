"""What stands behind the declared resources of a process: bind, start, drain."""
