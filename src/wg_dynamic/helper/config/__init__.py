"""The server's configuration file: text in, checked values out. Only `file` touches the disk."""
