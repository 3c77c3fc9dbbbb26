"""The part of the demo about names: wg-dynamic-watch and a real dnsmasq on the hub."""

import contextlib
from collections.abc import Iterator
from typing import Final

from tools.narrator import StepError
from tools.netlab import Host, Program, wait_until

DIRECTORY: Final = "/run/wg-dynamic-watch/wg0"
DNSMASQ: Final = (
    "dnsmasq --keep-in-foreground --log-facility=- --conf-file=/dev/null --no-resolv --no-hosts"
    f" --pid-file= --interface=wg0 --except-interface=lo --bind-interfaces --hostsdir={DIRECTORY}"
)
RESOLV_CONF: Final = "nameserver fe80::%wg0\n"


def configuration(peers: dict[str, str]) -> str:
    """What the server and wg-dynamic-watch read: names for public keys, and a suffix."""
    named = [f'[[peer]]\nname = "{name}"\npublic_key = "{key}"\n' for name, key in peers.items()]
    return "\n".join([*named, '[names]\nsuffix = "wg"\n'])


@contextlib.contextmanager
def name_service(hub: Host, watch: str) -> Iterator[str]:
    """Run both programs on the hub; gives the file of names when it is there."""
    programs: list[Program] = []
    try:
        programs.append(hub.popen(watch.split()))
        programs[0].wait_for_output("following the server's events")
        hosts = hub.path(f"{DIRECTORY}/hosts")
        wait_until(hosts.exists, what=f"{DIRECTORY}/hosts")
        programs.append(hub.popen(DNSMASQ.split()))
        programs[1].wait_for_output("names")
        yield hosts.read_text()
    finally:
        for program in programs:
            program.stop()


def ask_the_hub(host: Host) -> None:
    """Let a host ask the hub for names: in its own mount namespace, and no file is changed."""
    script = (
        "set -e; file=$(mktemp /run/resolv.XXXXXX); cat >$file; chmod 644 $file;"
        " mount --bind $file $(readlink -m /etc/resolv.conf)"
    )
    done = host.run(["sh", "-c", script], input=RESOLV_CONF, check=False)
    if done.returncode:
        what = "a resolv.conf of its own for the phone"
        raise StepError(what, done.stderr)
