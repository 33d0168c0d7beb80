"""The texts that explain configurations to whoever describes them with documentation.

Format of the tables: `name: text`, a text goes on in indented lines. They are read only when a client asks for
documentation (DescribeConfigs 3+), so they cost nothing before.
"""

from collections.abc import Mapping


def documentation(resource: str) -> Mapping[str, str]:
    """Return the texts by configuration name; `resource` is broker, topic, group or client_metrics."""
    if resource == "broker":
        from pykbroker.config_tables import docs_broker, docs_reported

        return {**parse(docs_broker.BROKER), **parse(docs_reported.REPORTED)}
    from pykbroker.config_tables import docs_topic

    tables = {"topic": docs_topic.TOPIC, "group": docs_topic.GROUP, "client_metrics": docs_topic.CLIENT_METRICS}
    return parse(tables[resource])


def parse(table: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    name = ""
    for line in table.strip().splitlines():
        if line.startswith(" "):
            texts[name] += " " + line.strip()
        else:
            name, _, text = line.partition(": ")
            texts[name] = text
    return texts
