"""Tenure keeps who, what was bought, and what our own Postgres says in agreement."""

__version__ = "0.1.0"
