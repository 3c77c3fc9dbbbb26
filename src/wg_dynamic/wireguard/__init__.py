"""WireGuard control: read peers, change allowed IPs. Two backends, one contract."""
