"""Beside a server: hooks on lease events, metrics, names. Nothing here is on the way of a grant."""
