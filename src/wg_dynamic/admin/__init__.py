"""The language of the administration socket, and the end of it that asks."""
