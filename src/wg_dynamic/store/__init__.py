"""Where leases survive a crash."""
