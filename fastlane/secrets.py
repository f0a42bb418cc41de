"""Secrets, declared by name."""
