"""Netlink, standard library only and blocking: what the root helper needs and no more."""
