"""What `pykbroker configs` does."""

from collections.abc import Mapping, Sequence

from pykbroker.cli.options import Cluster
from pykbroker.cli.output import fail, print_json, print_table, say
from pykbroker.cli.running import run
from pykbroker.client import configs
from pykbroker.client.configs import ConfigChange, ConfigEntry, Operation, Resource, ResourceType

_DEFAULT_BROKER = "default"


def resource_of(type_: str, name: str) -> Resource:
    resource_type = ResourceType[type_.upper().replace("-", "_")]
    is_default = resource_type is ResourceType.BROKER and name == _DEFAULT_BROKER
    return Resource(resource_type, "" if is_default else name)


def changes_of(operation: str, pairs: Mapping[str, str]) -> list[ConfigChange]:
    chosen = Operation[operation.upper()]
    return [ConfigChange(name, chosen, None if chosen is Operation.DELETE else value) for name, value in pairs.items()]


def describe(
    cluster: Cluster, resource: Resource, keys: Sequence[str], *, everything: bool, docs: bool, json: bool
) -> None:
    entries = run(
        cluster,
        lambda client: configs.describe_configs(client, resource, keys or None, include_documentation=docs),
    )
    unknown = sorted(set(keys) - {entry.name for entry in entries})
    shown = sorted((entry for entry in entries if keys or everything or entry.is_set), key=lambda entry: entry.name)
    if json:
        print_json([_json(entry, docs=docs) for entry in shown])
    else:
        rows = [
            [entry.name, _value(entry), entry.source.name, *([entry.documentation or ""] if docs else [])]
            for entry in shown
        ]
        print_table(["CONFIG", "VALUE", "SOURCE", *(["MEANING"] if docs else [])], rows)
    if unknown:
        raise fail(f"{resource} has no config {', '.join(unknown)}")


def _value(entry: ConfigEntry) -> str:
    return "(withheld)" if entry.is_sensitive else "-" if entry.value is None else entry.value


def _json(entry: ConfigEntry, *, docs: bool) -> dict[str, object]:
    told: dict[str, object] = {
        "name": entry.name,
        "value": entry.value,
        "source": entry.source.name,
        "is_read_only": entry.is_read_only,
        "is_sensitive": entry.is_sensitive,
    }
    return told | {"documentation": entry.documentation} if docs else told


def alter(cluster: Cluster, resource: Resource, changes: Sequence[ConfigChange], *, dry_run: bool, json: bool) -> None:
    run(cluster, lambda client: configs.alter_configs(client, resource, changes, validate_only=dry_run))
    if json:
        print_json({"resource": str(resource), "altered": [change.name for change in changes], "dry_run": dry_run})
    else:
        say(f"{resource}: {'would be altered' if dry_run else 'altered'}")
