"""Leases as a subject: what a lease is, what a pool holds, which address is chosen. Pure."""
