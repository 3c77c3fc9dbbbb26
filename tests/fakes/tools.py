"""nft in memory, as far as we use it: tables that come and go as a whole."""

import re

from wg_dynamic.system.tools import ToolMissingError, ToolResult

_CREATE = re.compile(r"create table (\S+) (\S+)")
_DELETE = re.compile(r"delete table (\S+) (\S+)")


class FakeNft:
    """To be called as `run_tool`. tests/netns shows that the real one takes the same texts."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str, str], str] = {}
        """What was last put into each."""
        self.missing = False
        self.refusal = ""
        """Why the next files are not taken."""
        self.ran = 0

    def __call__(self, *command: str, text: str = "") -> ToolResult:
        if self.missing:
            msg = "no nft in /usr/sbin"
            raise ToolMissingError(msg)
        self.ran += 1
        if command == ("nft", "list", "tables"):
            lines = [f"table {family} {name}\n" for family, name in self.tables]
            return ToolResult(" ".join(command), 0, "".join(lines), "")
        assert command == ("nft", "-f", "-")
        words = self.refusal or self._load(text)
        return ToolResult("nft -f -", 1 if words else 0, "", words)

    def _load(self, text: str) -> str:
        """Why it is refused, as a whole, or ''."""
        tables = dict(self.tables)
        for part in re.split(r"\n(?=create table|table|delete table)", text):
            created, deleted = _CREATE.match(part), _DELETE.match(part)
            if created:
                if created.groups() in tables:
                    return "File exists"
                tables[created[1], created[2]] = ""
            elif deleted:
                if tables.pop((deleted[1], deleted[2]), None) is None:
                    return "No such file or directory"
            else:
                _table, family, name = part.split()[:3]
                tables[family, name] = tables.get((family, name), "") + part.strip()
        self.tables = tables
        return ""
