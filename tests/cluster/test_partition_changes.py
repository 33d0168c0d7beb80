"""What becomes of a partition: stories, each a text script with the state after each step below it.

The controller settles the partition after each step, as it does when it sees the step in the image. A state reads

    leader 1 (leader epoch 0, partition epoch 0)  isr 1,2  elr 3  last 1  replicas 1,2,3  adding 4  removing 1
"""

from pathlib import Path

import attrs
import pytest

from pykbroker.cluster.changes import Change, begin_shutdown
from pykbroker.cluster.image import ConfigResourceType, MetadataImage, PartitionImage
from pykbroker.cluster.partition_changes import (
    Election,
    after_unclean_stop,
    allows_unclean_election,
    alter_isr,
    circumstances,
    next_state,
    put_partition,
    settled,
    write_configs,
)
from pykbroker.cluster.reassignments import cancel_reassignment, reassign
from pykbroker.errors import KafkaError
from tests.cluster.history import History, topic_id
from wire.errors import ErrorCode

STORIES = Path(__file__).parent / "stories"
ELR = {"eligible.leader.replicas.version": 1}


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(",") if each)


class Story:
    """Runs the steps of a script on one partition, t-0."""

    def __init__(self) -> None:
        self.history = History()

    @property
    def image(self) -> MetadataImage:
        return self.history.image

    def tell(self, script: str) -> str:
        told = []
        for paragraph in script.strip().split("\n\n"):
            lines = [line for line in paragraph.splitlines() if line.startswith(("> ", "# "))]
            told.append("\n".join([*lines, *self.steps(line[2:] for line in lines if line.startswith("> "))]))
        return "\n\n".join(told) + "\n"

    def steps(self, commands: object) -> list[str]:
        answers = []
        for command in commands:  # type: ignore[attr-defined]
            name, *arguments = command.split()
            try:
                getattr(self, name)(*arguments)
            except KafkaError as error:
                answers.append(error.code.name)
            self.settle()
        return [*answers, *([shown(self.history.partition())] if "t" in self.image.topics else [])]

    def settle(self) -> None:
        for topic in self.image.topics.values():
            unclean = allows_unclean_election(self.image, topic.name, False)
            for index in range(len(topic.partitions)):
                change = put_partition(self.image, topic, index, settled(self.image, topic, index, unclean=unclean))
                if change.operations:
                    self.history.write(change)

    def cluster(self, *options: str) -> None:
        values = dict(option.split("=") for option in options)
        self.history.found({} if "elr=off" in options else ELR, int(values.get("min.isr", "1")))
        self.history.register(*numbers(values["brokers"]))

    def topic(self, replicas: str, *configs: str) -> None:
        self.history.create("t", [numbers(replicas)], dict(each.split("=") for each in configs))

    def fenced(self, broker_id: str) -> None:
        self.history.fence(int(broker_id))

    def back(self, broker_id: str, how: str = "") -> None:
        if how == "unclean":
            for topic in self.image.topics.values():
                for index in range(len(topic.partitions)):
                    change = after_unclean_stop(self.image, topic, index, int(broker_id))
                    self.history.write(change)
        self.history.register(int(broker_id))

    def stopping(self, broker_id: str) -> None:
        self.history.write(begin_shutdown(self.image, int(broker_id), 0))

    def isr(self, isr: str, *, leader: int | None = None) -> None:
        state = self.history.partition()
        change = alter_isr(
            self.image,
            topic_id("t"),
            0,
            broker_id=state.leader if leader is None else leader,
            leader_epoch=state.leader_epoch,
            partition_epoch=state.partition_epoch,
            isr=numbers(isr),
        )
        self.history.write(change)

    def elect(self, kind: str) -> None:
        topic = self.image.topics["t"]
        given = circumstances(self.image, topic, election=Election[kind.upper()])
        self.history.write(put_partition(self.image, topic, 0, next_state(topic.partitions[0], given)))

    def reassign(self, replicas: str) -> None:
        topic = self.image.topics["t"]
        self.history.write(reassign(self.image, topic, 0, numbers(replicas), may_change_factor=True))

    def cancel(self) -> None:
        topic = self.image.topics["t"]
        unclean = allows_unclean_election(self.image, "t", False)
        self.history.write(cancel_reassignment(self.image, topic, 0, unclean=unclean))

    def config(self, *configs: str) -> None:
        values = dict(each.split("=") for each in configs)
        self.history.write(write_configs(self.image, (ConfigResourceType.TOPIC, "t"), values))

    def default(self, *configs: str) -> None:
        values = dict(each.split("=") for each in configs)
        self.history.write(write_configs(self.image, (ConfigResourceType.BROKER, ""), values))


def shown(state: PartitionImage) -> str:
    parts = [f"leader {state.leader} (leader epoch {state.leader_epoch}, partition epoch {state.partition_epoch})"]
    for name, broker_ids in (
        ("isr", state.isr),
        ("elr", state.elr),
        ("last", state.last_known_elr),
        ("replicas", state.replicas),
        ("adding", state.adding_replicas),
        ("removing", state.removing_replicas),
    ):
        if broker_ids or name == "isr":
            parts.append(f"{name} {','.join(map(str, broker_ids)) or '-'}")
    return "  ".join(parts)


@pytest.mark.parametrize("path", sorted(STORIES.glob("*.txt")), ids=lambda path: path.stem)
def test_story_goes_as_it_is_told(path: Path) -> None:
    script = path.read_text()
    assert Story().tell(script) == script


# What a leader's proposal is refused for


def cluster_of_three(replicas: str = "1,2,3", *configs: str) -> Story:
    story = Story()
    story.cluster("brokers=1,2,3,4")
    story.topic(replicas, *configs)
    return story


def propose(story: Story, **different: object) -> Change:
    state = story.history.partition()
    arguments: dict[str, object] = {
        "broker_id": state.leader,
        "leader_epoch": state.leader_epoch,
        "partition_epoch": state.partition_epoch,
        "isr": (1, 2),
    }
    id_, index = different.pop("topic_id", topic_id("t")), different.pop("index", 0)
    return alter_isr(story.image, id_, index, **(arguments | different))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("different", "code"),
    [
        ({"topic_id": b"-" * 16}, ErrorCode.UNKNOWN_TOPIC_ID),
        ({"index": 1}, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ({"leader_epoch": -1}, ErrorCode.FENCED_LEADER_EPOCH),
        ({"leader_epoch": 1}, ErrorCode.NOT_LEADER_OR_FOLLOWER),
        ({"broker_id": 2}, ErrorCode.NOT_LEADER_OR_FOLLOWER),
        ({"partition_epoch": 5}, ErrorCode.INVALID_UPDATE_VERSION),
        ({"isr": ()}, ErrorCode.INVALID_REQUEST),
        ({"isr": (2, 3)}, ErrorCode.INVALID_REQUEST),
        ({"isr": (1, 2, 2)}, ErrorCode.INVALID_REQUEST),
        ({"isr": (1, 4)}, ErrorCode.INVALID_REQUEST),
        ({"broker_epochs": {2: 1}}, ErrorCode.INELIGIBLE_REPLICA),
    ],
)
def test_proposal_that_does_not_fit_the_partition_is_refused(different: dict[str, object], code: ErrorCode) -> None:
    with pytest.raises(KafkaError) as caught:
        propose(cluster_of_three(), **different)
    assert caught.value.code is code


def test_proposal_with_a_fenced_broker_is_refused() -> None:
    story = cluster_of_three()
    story.history.fence(2)
    with pytest.raises(KafkaError) as caught:
        propose(story)
    assert caught.value.code is ErrorCode.INELIGIBLE_REPLICA


def test_proposal_with_known_broker_epochs_is_accepted() -> None:
    story = cluster_of_three()
    epochs = {broker.id: broker.epoch for broker in story.image.brokers.values()}
    story.history.write(propose(story, broker_epochs=epochs))
    assert story.history.partition().isr == (1, 2)


def test_same_isr_needs_no_write() -> None:
    assert propose(cluster_of_three(), isr=(3, 2, 1)).operations == []


def test_isr_that_grows_is_not_written_when_the_follower_was_fenced_meanwhile() -> None:
    story = cluster_of_three()
    story.isr("1,2")
    story.settle()
    proposal = propose(story, isr=(1, 2, 3))
    story.history.fence(3)
    assert not story.history.holds(proposal)


def test_isr_is_not_written_when_the_leader_was_fenced_meanwhile() -> None:
    story = cluster_of_three()
    proposal = propose(story, isr=(1,))
    story.history.fence(1)
    assert not story.history.holds(proposal)


def test_elr_is_not_written_when_the_min_isr_was_changed_meanwhile() -> None:
    story = cluster_of_three("1,2,3", "min.insync.replicas=2")
    proposal = propose(story, isr=(1,))
    other = cluster_of_three("1,2,3", "min.insync.replicas=2")
    other.config("min.insync.replicas=1")
    assert story.history.holds(proposal)
    assert not other.history.holds(proposal)


def test_reassignment_that_must_keep_the_factor_refuses_another_one() -> None:
    story = cluster_of_three()
    topic = story.image.topics["t"]
    for replicas in ((1, 2), (1, 2, 3, 4)):
        with pytest.raises(KafkaError) as caught:
            reassign(story.image, topic, 0, replicas, may_change_factor=False)
        assert caught.value.code is ErrorCode.INVALID_REPLICATION_FACTOR
    assert reassign(story.image, topic, 0, (4, 2, 3), may_change_factor=False).operations


def test_what_is_settled_is_told_quickly_and_rightly() -> None:
    active = frozenset({1, 2})
    state = PartitionImage.created((1, 2, 3))
    assert not state.is_settled(active)
    assert attrs.evolve(state, isr=(1, 2)).is_settled(active)
    assert not attrs.evolve(state, isr=(2,), leader=3).is_settled(active)
    assert not attrs.evolve(state, isr=(2,), leader=-1).is_settled(active)
