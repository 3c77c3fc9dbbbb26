"""The server's network process: parses packets, holds the leases, asks the helper for the rest."""
