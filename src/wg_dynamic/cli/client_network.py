"""The client's network process. Started by the helper only: arguments are its business."""

from wg_dynamic.cli.network import run_network_process
from wg_dynamic.client.daemon import keep_lease
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import CLIENT_REPLIES, CLIENT_REQUESTS, ClientStart
from wg_dynamic.privsep.sandbox import CLIENT, Sandbox
from wg_dynamic.system.clock import SystemClock


def _work(channel: Channel, sandbox: Sandbox) -> None:
    start, _ = channel.wait_for(ClientStart)
    sandbox.close(CLIENT)
    keep_lease(start, channel, SystemClock())


def main(words: list[str]) -> int:
    """The process; returns its exit status."""
    return run_network_process("wg-dynamic-client", words, CLIENT_REQUESTS, CLIENT_REPLIES, _work)
