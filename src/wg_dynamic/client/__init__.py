"""The client's network process: asks for addresses, keeps the lease, asks the helper to set it."""
