"""Draw docs/top.svg: `wg-dynamic top` beside a real server with six clients, as it stands then.

    python -m tools.top_picture

Root. The readings are of a server in network namespaces (tools/netlab.py); textual draws them
without a terminal.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.netns.daemons import Client, Server
from tools.netlab import Lab
from tools.repository import ROOT
from tools.star import make_star
from wg_dynamic.cli.command import top
from wg_dynamic.cli.top_app import Top

PICTURE: Final = ROOT / "docs" / "top.svg"
NAMES: Final = ("laptop", "phone", "branch-berlin", "build-1", "build-2", "vm-0017")
SIZE: Final = (140, 26)
_FONT: Final = re.compile(r"@font-face \{.*?\}\s*", re.S)
"""That the picture would fetch from the network: any monospaced one will do."""
_TERMS: Final = """
lease_time = "1h"
[[pool]]
network = "10.44.0.0/28"
[[pool]]
network = "fd00:44::/64"
"""
_INSIDE: Final = "--inside"


def main(arguments: list[str]) -> int:
    """Make the picture, or, inside the hub, print it."""
    if arguments == [_INSIDE]:
        sys.stdout.write(asyncio.run(_draw()))
        return 0
    with Lab() as lab, tempfile.TemporaryDirectory() as directory:
        star = make_star(lab, NAMES, private=("/etc/wg-dynamic",))
        peers = [
            f'[[peer]]\nname = "{name}"\npublic_key = "{member.interface.keys.public}"\n'
            for name, member in zip(NAMES, star.clients, strict=True)
        ]
        hub = star.hub.host
        hub.path("/etc/wg-dynamic/wg0.toml").write_text(_TERMS + "".join(peers))
        server = Server(star.hub, Path(directory) / "leases.sqlite")
        Path(directory).chmod(0o755)
        server.arguments = ["--user", "nobody", "--database", str(server.database)]
        os.chown(directory, 65534, 65534)
        server.start()
        for member in star.clients:
            Client(member).start()
        command = hub.python("-m", "tools.top_picture", _INSIDE)
        PICTURE.write_text(hub.run(command, cwd=ROOT).stdout, encoding="utf-8")
    print(PICTURE)
    return 0


async def _draw() -> str:
    reading, writing = os.pipe()
    os.write(writing, f"{json.dumps(top.read('wg0'))}\n".encode())
    app = Top(reading)
    async with app.run_test(size=SIZE) as pilot:
        while not app.reading:
            await pilot.pause(0.05)
        await pilot.pause()
        return _FONT.sub("", app.export_screenshot(title="wg-dynamic top wg0"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
