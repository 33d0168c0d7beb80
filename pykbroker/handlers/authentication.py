"""Credentials of users.

DescribeUserScramCredentials (50), version 0
- There are none yet: all of them are an empty list, and each that is named is RESOURCE_NOT_FOUND. kafka-configs asks
  for them, too, when it describes the quotas of a user.
- A user who is named twice is DUPLICATE_RESOURCE.

Source: KIP-554; Kafka's ScramImage.
"""

from collections import Counter

from pykbroker.handlers.context import RequestContext
from wire.errors import ErrorCode
from wire.messages.authentication import (
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
)


def describe_user_scram_credentials(
    ctx: RequestContext, request: DescribeUserScramCredentialsRequest
) -> DescribeUserScramCredentialsResponse:
    times = Counter(user.name for user in request.users or ())
    return DescribeUserScramCredentialsResponse(
        error_message="",
        results=[
            DescribeUserScramCredentialsResult(
                user=name,
                error_code=ErrorCode.RESOURCE_NOT_FOUND if count == 1 else ErrorCode.DUPLICATE_RESOURCE,
                error_message="no credential of this user is known" if count == 1 else "the user is named twice",
            )
            for name, count in times.items()
        ],
    )
