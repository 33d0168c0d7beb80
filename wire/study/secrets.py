"""Which bytes are secret: what the study of a protocol must never show, and traces never hold.

Secret are SASL messages, SCRAM salts and salted passwords, the HMACs of delegation tokens, and the values of sensitive
configs. A broker withholds the values of configs that it knows to be sensitive, but whoever sets them sends them.

Rules: where a message that may hold a secret breaks off, all that is left of it counts as one. So does all of
`__cluster_metadata`, the log of Kafka's controllers, that cannot be read.

Not here: SASL tokens in frames without headers, as they follow SaslHandshake v0 (frames).
Sources: KIP-152, KIP-554, KIP-48; the configs of type PASSWORD in Apache Kafka.
"""

import functools
from collections.abc import Callable
from typing import Any, cast

from wire.schema import spec_of
from wire.study.tree import Node, NoValue

# By class, so that two messages that call something alike need not agree about it.
SECRET_FIELDS = frozenset(
    {
        ("SaslAuthenticateRequest", "auth_bytes"),
        ("SaslAuthenticateResponse", "auth_bytes"),
        ("ScramCredentialUpsertion", "salt"),
        ("ScramCredentialUpsertion", "salted_password"),
        ("CreateDelegationTokenResponse", "hmac"),
        ("RenewDelegationTokenRequest", "hmac"),
        ("ExpireDelegationTokenRequest", "hmac"),
        ("DescribedDelegationToken", "hmac"),
        ("UserScramCredentialRecord", "salt"),
        ("UserScramCredentialRecord", "stored_key"),
        ("UserScramCredentialRecord", "server_key"),
    }
)
# Configs: a name or key, a value, and in answers whether it is sensitive.
CONFIG_CLASSES = frozenset(
    {
        "AlterConfigsRequestAlterableConfig",
        "IncrementalAlterConfigsRequestAlterableConfig",
        "DescribeConfigsResourceResult",
        "DescribeConfigsSynonym",
        "CreatableTopicConfig",
        "CreatableTopicConfigs",
        "ConfigRecord",
    }
)
# Keys with such fields, for who must not look at every message: tests hold this against the declarations.
SECRET_KEYS = frozenset({19, 32, 33, 36, 38, 39, 40, 41, 44, 51, 58})

# A config is sensitive whose name has one of them in it.
SENSITIVE_WORDS = (
    "password",
    "passphrase",
    "secret",
    "credential",
    "jaas.config",
    "keystore.key",
    "private.key",
    "certificate",
    "token.master.key",
)


@functools.lru_cache(maxsize=4096)
def is_sensitive_config(name: str) -> bool:
    name = name.lower()
    return any(word in name for word in SENSITIVE_WORDS)


def _look_for_secrets(cls: type[Any]) -> bool:
    """Tell whether a message or a struct may hold a secret, here or further down."""
    return cls.__name__ in CONFIG_CLASSES or any(
        (cls.__name__, field.name) in SECRET_FIELDS or (isinstance(field.element, type) and has_secrets(field.element))
        for field in spec_of(cls).fields
    )


# To mypy a class is not hashable (it looks at the __hash__ of its instances).
has_secrets = cast(Callable[[type[Any]], bool], functools.cache(_look_for_secrets))


def hide_secrets(root: Node) -> None:
    """Take all secrets out of a tree. What broke off is hidden if the message may hold one."""
    for node in root.walk():
        if node.owner is None:
            continue
        cls = node.owner.__name__
        if (cls, node.name) in SECRET_FIELDS:
            node.hide()
        elif cls in CONFIG_CLASSES and node.name == "value":
            node.is_secret = True  # until the struct that it is in tells otherwise
    for node in root.walk():
        _judge_config(node)
    for node in root.walk():
        if node.is_secret and node.value is not NoValue.HIDDEN:
            node.hide()


def hide_values_above(root: Node) -> bool:
    """Hide the values of all nodes below which a secret is; return whether there is one."""
    parts = root.children if root.inner is None else [*root.children, root.inner.root]
    found = [hide_values_above(part) for part in parts]
    has_secret = root.is_secret or any(found)
    if has_secret and not root.is_container:
        root.hide_value()
    return has_secret


def _judge_config(config: Node) -> None:
    """Make the value of a config public, where all is there that says it is."""
    value = config.child("value")
    if value is None or not value.is_secret or value.owner is None or value.owner.__name__ not in CONFIG_CLASSES:
        return
    if value.value is NoValue.HIDDEN:
        return
    name, sensitive, synonyms = config.child("name"), config.child("is_sensitive"), config.child("synonyms")
    is_whole = not any(child.error for child in config.walk())
    if name is not None and name.value is not None and is_whole:
        value.is_secret = bool(sensitive is not None and sensitive.value) or is_sensitive_config(str(name.value))
    if value.is_secret and synonyms is not None:
        for node in synonyms.walk():
            if node.name == "value" and node.owner is not None:
                node.hide()
