"""The name servers that this machine uses: nobody else may have their addresses."""

from pathlib import Path

from wg_dynamic.address import parse_address

RESOLV_CONFS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""The second one is systemd-resolved's own: the first has its stub at 127.0.0.53 only, then."""


def name_servers_in_use() -> tuple[bytes, ...]:
    """Each once."""
    found = [server for path in RESOLV_CONFS for server in read_name_servers(path)]
    return tuple(dict.fromkeys(found))


def read_name_servers(path: Path) -> tuple[bytes, ...]:
    """The addresses of the `nameserver` lines of resolv.conf(5); what is none is passed over."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                found.append(parse_address(words[1].partition("%")[0]))
            except ValueError:
                continue
    return tuple(found)
