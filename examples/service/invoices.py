"""A small service, as somebody might have it: it reads orders and writes an invoice for each."""

import json
import threading

from kafka import KafkaConsumer, KafkaProducer


class InvoiceService(threading.Thread):
    def __init__(self, bootstrap: str) -> None:
        super().__init__(name="invoices")
        self._consumer = KafkaConsumer(
            "orders",
            bootstrap_servers=bootstrap,
            group_id="invoices",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
        self._is_stopping = threading.Event()

    def run(self) -> None:
        while not self._is_stopping.is_set():
            for records in self._consumer.poll(timeout_ms=100).values():
                for record in records:
                    self._producer.send("invoices", key=record.key, value=json.dumps(invoice(record.value)).encode())
            self._producer.flush()
            self._consumer.commit()
        self._consumer.close()
        self._producer.close()

    def stop(self) -> None:
        self._is_stopping.set()
        self.join()


def invoice(order: bytes) -> dict[str, float]:
    items = json.loads(order)
    return {"total": sum(item["price"] * item["count"] for item in items)}
