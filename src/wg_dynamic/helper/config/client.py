"""A client's document: what to take from the server, as options of the command line. Pure."""

from wg_dynamic.helper.config.document import CLIENT, Problems, open_document
from wg_dynamic.helper.config.values import read_flag, read_network
from wg_dynamic.helper.policy import DEFAULT_ACCEPTANCE, Acceptance

_KEYS = "accept-routes, accept-dns, accept-default-route"


def parse_client_config(text: str, source: str) -> Acceptance:
    """The values of a document that has nothing but a table `[client]`.

    Raises:
        UsageError: it is no TOML, or has unknown keys or wrong values: all of them are told.
    """
    problems = Problems(source)
    document = open_document(text, source, problems)
    accepts = DEFAULT_ACCEPTANCE
    table = document.table(CLIENT, _KEYS)
    if table is not None:
        accepts = Acceptance(
            table.take_all("accept-routes", read_network),
            table.take_all("accept-dns", read_network),
            table.take("accept-default-route", read_flag, default=False),
        )
        table.finish()
    document.refuse(f"is for wg-dynamic-server, expected the table [{CLIENT}] alone")
    problems.raise_any()
    return accepts
