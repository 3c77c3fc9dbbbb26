"""What runs as root: validates the interface, holds the network process, carries out requests.

Nothing here parses a byte that came from the network, and nothing here opens the database.
"""
