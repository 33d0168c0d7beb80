"""InitProducerId (key 22, versions 0-5): give an idempotent producer its id.

- Without a transactional id every call gets a new producer id with epoch 0; ids come in blocks from the store, so no two brokers
  give the same one.
- A transactional id that is empty is INVALID_REQUEST. Others need a transaction coordinator, which this broker does not have yet:
  COORDINATOR_NOT_AVAILABLE.

Sources: KIP-98, KIP-360.
"""

from pykbroker.errors import KafkaError
from pykbroker.handlers.context import RequestContext
from wire.errors import ErrorCode
from wire.messages.transactions import InitProducerIdRequest, InitProducerIdResponse


async def init_producer_id(ctx: RequestContext, request: InitProducerIdRequest) -> InitProducerIdResponse:
    if request.transactional_id == "":
        raise KafkaError(ErrorCode.INVALID_REQUEST)
    if request.transactional_id is not None:
        raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
    return InitProducerIdResponse(producer_id=await ctx.services.producer_ids.next(), producer_epoch=0)
