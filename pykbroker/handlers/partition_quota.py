"""The controller mutation quota of a request that creates or deletes partitions."""

from pykbroker.errors import KafkaError
from pykbroker.handlers.context import RequestContext
from wire.errors import ErrorCode


class PartitionQuota:
    """Asked once for each topic of a request, also if that is decided anew.

    From version `strict_from` on a client understands that it has to come again; with an older one it is throttled.
    """

    def __init__(self, ctx: RequestContext, *, strict_from: int) -> None:
        quotas = ctx.services.client_quotas
        is_strict = ctx.api_version >= strict_from
        self._quota = (
            None if quotas is None else quotas.mutations(ctx.connection.user, ctx.client_id, is_strict=is_strict)
        )
        self._allowed: dict[str, bool] = {}

    def check(self, topic: str, partitions: int) -> None:
        """Raises: THROTTLING_QUOTA_EXCEEDED."""
        if self._quota is None:
            return
        if topic not in self._allowed:
            self._allowed[topic] = self._quota.allows(partitions)
        if not self._allowed[topic]:
            raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED)

    @property
    def throttle_ms(self) -> int:
        return 0 if self._quota is None else self._quota.throttle_ms
