"""Two processes a daemon: the closed set of requests between them, and how it travels."""
