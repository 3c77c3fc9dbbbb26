"""The commands: arguments in, exit status out. The only place that chooses implementations."""
