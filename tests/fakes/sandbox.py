"""A sandbox that leaves the process that runs the tests as it is."""

from wg_dynamic.privsep.sandbox import Confinement


class FakeSandbox:
    """Writes down how it was closed."""

    def __init__(self) -> None:
        self.closed: list[tuple[Confinement, dict[str, object]]] = []

    def close(self, confinement: Confinement, **files: object) -> None:
        self.closed.append((confinement, files))
