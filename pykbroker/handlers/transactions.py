"""InitProducerId (key 22, versions 0-5): give an idempotent producer its id.

- Without a transactional id every call gets a new producer id with epoch 0; ids come in blocks from the store, so no
  two brokers give the same one.
- A producer id without an epoch, or an epoch without an id, is INVALID_REQUEST.
- A transactional id that is empty is INVALID_REQUEST; one with a timeout that is not positive or over
  transaction.max.timeout.ms INVALID_TRANSACTION_TIMEOUT. Others need a transaction coordinator, which this broker does
  not have yet: COORDINATOR_NOT_AVAILABLE.

Sources: KIP-98, KIP-360.
"""

from pykbroker.handlers.context import RequestContext
from wire.errors import ErrorCode
from wire.messages.transactions import InitProducerIdRequest, InitProducerIdResponse

NO_PRODUCER_ID = NO_PRODUCER_EPOCH = -1


async def init_producer_id(ctx: RequestContext, request: InitProducerIdRequest) -> InitProducerIdResponse:
    if (request.producer_id == NO_PRODUCER_ID) != (request.producer_epoch == NO_PRODUCER_EPOCH):
        return _refused(ErrorCode.INVALID_REQUEST)
    if request.transactional_id == "":
        return _refused(ErrorCode.INVALID_REQUEST)
    if request.transactional_id is not None:
        if not 0 < request.transaction_timeout_ms <= ctx.services.config.transaction_max_timeout_ms:
            return _refused(ErrorCode.INVALID_TRANSACTION_TIMEOUT)
        return _refused(ErrorCode.COORDINATOR_NOT_AVAILABLE)
    return InitProducerIdResponse(producer_id=await ctx.services.producer_ids.next(), producer_epoch=0)


def _refused(code: ErrorCode) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=code, producer_id=-1, producer_epoch=-1)
