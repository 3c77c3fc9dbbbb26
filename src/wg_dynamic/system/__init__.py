"""The process and its machine: clock, log, background, runtime files, privileges."""
