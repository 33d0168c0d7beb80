import random

import attrs

from pykbroker.cluster.apply import apply
from pykbroker.cluster.changes import (
    Change,
    create_partitions,
    create_topic,
    delete_topic,
    found_cluster,
    set_configs,
)
from pykbroker.cluster.image import EMPTY, ConfigResourceType, ImageDelta, PartitionImage
from pykbroker.cluster.quota_changes import QuotaOp, alter_quotas
from pykbroker.cluster.store import Batch, Delete, Event
from tests.cluster.history import LISTENER, History, topic_id, with_brokers
from tests.support.partitions import set_partition

TOPIC = ConfigResourceType.TOPIC


def create(history: History, name: str, partitions: int = 1, configs: dict[str, str] | None = None) -> ImageDelta:
    replicas = [tuple(sorted(history.image.brokers))] * partitions
    return history.write(create_topic(history.image, name, topic_id(name), replicas, configs or {}))


def test_registered_broker_is_in_the_image_with_its_epoch() -> None:
    history = with_brokers(1, 2)
    assert history.image.brokers[2].epoch == 2
    assert history.image.brokers[2].listeners == {"PLAINTEXT": LISTENER}
    assert [broker.id for broker in history.image.alive_brokers()] == [1, 2]
    assert history.delta.brokers == {2}


def test_broker_whose_lease_ends_is_fenced() -> None:
    history = with_brokers(1, 2)
    delta = history.write(Change([], [Delete("/alive/1")]))
    assert history.image.brokers[1].fenced
    assert delta.brokers == {1}
    assert [broker.id for broker in history.image.alive_brokers()] == [2]


def test_created_topic_is_found_by_name_and_id() -> None:
    history = with_brokers(1)
    delta = create(history, "a.b", 3)
    topic = history.image.topics["a.b"]
    assert [created.name for created in delta.created_topics] == ["a.b"]
    assert delta.changed_partitions == ()
    assert history.image.topic_by_id(topic_id("a.b")) is topic
    assert history.image.collision_names == {"a_b": "a.b"}
    assert topic.partitions == (PartitionImage.created((1,)),) * 3
    assert history.image.partition("a.b", 2) is topic.partitions[2]
    assert history.image.partition("a.b", 3) is None


def test_replica_that_is_fenced_at_creation_is_not_in_sync() -> None:
    history = with_brokers(1, 2)
    history.write(Change([], [Delete("/alive/1")]))
    create(history, "t")
    partition = history.image.topics["t"].partitions[0]
    assert (partition.leader, partition.replicas, partition.isr) == (2, (1, 2), (2,))


def test_partitions_in_the_same_state_are_one_object() -> None:
    history = with_brokers(1)
    create(history, "wide", 1000)
    assert len({id(partition) for partition in history.image.topics["wide"].partitions}) == 1


def test_changed_partition_keeps_the_others_and_the_image_before() -> None:
    history = with_brokers(1, 2)
    create(history, "t", 3)
    before = history.image
    delta = history.write(set_partition(before, "t", 1, leader=2, isr=[2]))
    topic = history.image.topics["t"]
    assert delta.changed_partitions == ((topic, 1),)
    assert topic.partitions[1] == attrs.evolve(
        before.topics["t"].partitions[1], leader=2, isr=(2,), leader_epoch=1, partition_epoch=1, revision=4
    )
    assert topic.partitions[0] is before.topics["t"].partitions[0]
    assert before.topics["t"].partitions[1].leader == 1
    assert history.image.brokers is before.brokers


def test_added_partitions_leave_the_states_of_the_old_ones() -> None:
    history = with_brokers(1, 2)
    create(history, "t", 2)
    history.write(set_partition(history.image, "t", 0, leader=2))
    delta = history.write(create_partitions(history.image, history.image.topics["t"], [(2, 1)]))
    topic = history.image.topics["t"]
    assert [partition.leader for partition in topic.partitions] == [2, 1, 2]
    assert delta.changed_partitions == ((topic, 2),)
    assert delta.created_topics == ()


def test_deleted_topic_leaves_nothing_behind() -> None:
    history = with_brokers(1)
    create(history, "a.b", 2, {"retention.ms": "1"})
    history.write(set_partition(history.image, "a.b", 1, new_leader_epoch=True))
    delta = history.write(delete_topic(history.image, history.image.topics["a.b"]))
    image = history.image
    assert [topic.name for topic in delta.deleted_topics] == ["a.b"]
    assert delta.configs == {(TOPIC, "a.b")}
    assert not image.topics
    assert not image.topic_names_by_id
    assert not image.collision_names
    assert not image.configs
    assert set(history.stored) == {"/alive/1", "/brokers/1"}


def test_topic_created_again_within_one_batch_is_deleted_and_created() -> None:
    history = with_brokers(1)
    create(history, "t")
    first = history.image.topics["t"]
    change = create_topic(EMPTY, "t", b"n" * 16, [], {})
    _, delta = apply(history.image, Batch(9, [Event(put.key, put.value, 9) for put in change.operations]))  # type: ignore[union-attr]
    assert [topic.id for topic in delta.deleted_topics] == [first.id]
    assert [topic.id for topic in delta.created_topics] == [b"n" * 16]


def test_configs_are_set_and_removed() -> None:
    history = with_brokers(1)
    create(history, "t")
    delta = history.write(set_configs(history.image, (TOPIC, "t"), {"retention.ms": "5"}))
    assert history.image.config(TOPIC, "t") == {"retention.ms": "5"}
    assert delta.configs == {(TOPIC, "t")}
    history.write(set_configs(history.image, (TOPIC, "t"), {}))
    assert history.image.config(TOPIC, "t") == {}


def test_name_of_a_configured_group_may_hold_slashes() -> None:
    history = History()
    history.write(set_configs(history.image, (ConfigResourceType.GROUP, "a/b//c"), {"x": "1"}))
    assert history.image.config(ConfigResourceType.GROUP, "a/b//c") == {"x": "1"}


def test_founding_writes_id_and_features_once() -> None:
    history = History()
    history.write(found_cluster(history.image, "id", {"f": 2}, {"min.insync.replicas": "1"}))
    assert (history.image.cluster_id, history.image.features) == ("id", {"f": 2})
    assert history.image.config(ConfigResourceType.BROKER, "") == {"min.insync.replicas": "1"}
    assert found_cluster(history.image, "other", {}, {}) == Change()


def test_keys_of_unknown_families_are_ignored() -> None:
    image, delta = apply(EMPTY, Batch(5, [Event("/future/x", b"\xff", 5), Event("/partitions/AAAA/0", b"{}", 5)]))
    assert image == attrs.evolve(EMPTY, revision=5)
    assert delta == ImageDelta()


def test_image_after_any_history_is_what_a_starting_broker_reads() -> None:
    source = random.Random(1)
    history = with_brokers(1, 2, 3)
    for step in range(400):
        names = list(history.image.topics)
        choice = source.random()
        if choice < 0.3 or not names:
            if f"t.{step % 20}" not in names:
                create(history, f"t.{step % 20}", source.randint(1, 4), {"a": "b"} if choice < 0.1 else None)
            continue
        topic = history.image.topics[source.choice(names)]
        if choice < 0.8:
            isr = source.sample((1, 2, 3), source.randint(1, 3))
            index = source.randrange(len(topic.partitions))
            history.write(set_partition(history.image, topic.name, index, leader=source.choice(isr), isr=isr))
        elif choice < 0.9:
            history.write(create_partitions(history.image, topic, [(1, 2)]))
        else:
            history.write(delete_topic(history.image, topic))
    restarted, delta = history.reset()
    assert restarted == history.image
    assert {topic.name for topic in delta.created_topics} == set(history.image.topics)


def test_reset_tells_the_difference_to_the_image_before() -> None:
    history = with_brokers(1, 2)
    create(history, "gone")
    create(history, "stays", 2)
    before = history.image
    history.write(delete_topic(history.image, history.image.topics["gone"]))
    history.write(set_partition(history.image, "stays", 1, isr=[1]))
    create(history, "new")
    history.write(Change([], [Delete("/alive/2")]))
    history.write(set_configs(history.image, (TOPIC, "stays"), {"a": "b"}))
    _, delta = apply(before, Batch(99, list(history.stored.values()), is_reset=True))
    assert [topic.name for topic in delta.deleted_topics] == ["gone"]
    assert [topic.name for topic in delta.created_topics] == ["new"]
    assert [(topic.name, index) for topic, index in delta.changed_partitions] == [("stays", 1)]
    assert delta.brokers == {2}
    assert delta.configs == {(TOPIC, "stays")}
    assert not delta.controller_changed


def test_quotas_are_in_the_image_by_entity() -> None:
    history = with_brokers(1)
    entity = (("client-id", None), ("user", "a/b&c=%d é"))
    delta = history.write(alter_quotas(history.image, dict(entity), [QuotaOp("producer_byte_rate", 5.0)]))
    assert history.image.client_quotas == {entity: {"producer_byte_rate": 5.0}}
    assert delta.client_quotas_changed
    assert not create(history, "t").client_quotas_changed
    history.write(alter_quotas(history.image, dict(entity), [QuotaOp("producer_byte_rate", None)]))
    assert history.image.client_quotas == {}


def test_quotas_that_a_reset_brings_or_takes_are_told() -> None:
    history = with_brokers(1)
    history.write(alter_quotas(history.image, {"ip": None}, [QuotaOp("connection_creation_rate", 5.0)]))
    image, delta = apply(history.image, Batch(history.image.revision + 1, [], is_reset=True))
    assert image.client_quotas == {}
    assert delta.client_quotas_changed
