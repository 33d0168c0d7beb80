import pytest
from orders import Orders, ship


@pytest.fixture(autouse=True)
def empty_kafka(kafka):
    kafka.reset()


@pytest.fixture
def orders(kafka, kafka_topic):
    orders = Orders(kafka.bootstrap, kafka_topic)
    yield orders
    orders.close()


def test_what_was_ordered_is_shipped_once(kafka, kafka_topic, orders):
    assert [orders.place(order) for order in (b"tea", b"cake")] == [0, 1]
    assert ship(kafka.bootstrap, kafka_topic, 2) == [b"tea", b"cake"]
    assert orders.place(b"milk") == 2
    assert ship(kafka.bootstrap, kafka_topic, 1) == [b"milk"]


def test_order_is_placed_although_the_leader_moves(kafka, kafka_topic, orders):
    with kafka.faults(api="Produce", client_id="orders", error="NOT_LEADER_OR_FOLLOWER", times=2) as fault:
        assert orders.place(b"tea") == 0
    assert fault.hits == 2


def test_shipping_commits_although_the_coordinator_is_new(kafka, kafka_topic, orders):
    orders.place(b"tea")
    with kafka.faults(api="OffsetCommit", group="shipping", error="NOT_COORDINATOR", times=1) as fault:
        assert ship(kafka.bootstrap, kafka_topic, 1) == [b"tea"]
    assert fault.hits == 1


@pytest.mark.kafka_cluster(brokers=3)
def test_order_is_placed_without_a_broker(kafka_cluster):
    kafka_cluster.create_topic("orders", 1)
    orders = Orders(kafka_cluster.bootstrap, "orders")
    orders.place(b"tea")
    kafka_cluster.kill(kafka_cluster.faults.move_leader("orders"))
    assert orders.place(b"cake") == 1
    orders.close()
