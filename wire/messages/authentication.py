"""Who the client is: SaslHandshake (key 17), SaslAuthenticate (36), delegation tokens (38 to 41), SCRAM credentials
(50, 51).

On a SASL listener a connection begins with ApiVersions, SaslHandshake and SaslAuthenticate, and nothing else is
answered until they succeed. Delegation tokens let a client that authenticated otherwise pass a short-lived credential
on to its workers (KIP-48).
"""

from wire.schema import Kind, array, bytes_, int8, int16, int32, int64, request, response, string, struct


@request(17, "0-1")
class SaslHandshakeRequest:
    """Choose the SASL mechanism (KIP-43).

    - 0: after it the mechanism's bytes follow in frames without headers
    - 1: they follow in SaslAuthenticate (KIP-152)
    """

    mechanism: str = string()  # such as SCRAM-SHA-256


@response(17, "0-1")
class SaslHandshakeResponse:
    """Accept the mechanism, or list those that there are."""

    error_code: int = int16()
    mechanisms: list[str] = array(Kind.STRING)  # those that the listener accepts


@request(36, "0-2", flexible="2+")
class SaslAuthenticateRequest:
    """Carry one message of the SASL exchange (KIP-152).

    - 1: only the response differs
    - 2: flexible
    """

    auth_bytes: bytes = bytes_()  # as the mechanism defines them


@response(36, "0-2", flexible="2+")
class SaslAuthenticateResponse:
    """Carry the answer of the SASL exchange.

    - 1: session lifetime (KIP-368)
    - 2: flexible
    """

    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    auth_bytes: bytes = bytes_()  # as the mechanism defines them
    session_lifetime_ms: int = int64("1+", ignorable=True)  # authenticate again before it is over; 0: no limit


@struct()
class CreatableRenewers:
    principal_type: str = string()
    principal_name: str = string()


@request(38, "1-3", flexible="2+")
class CreateDelegationTokenRequest:
    """Make a token for oneself, or for another owner.

    - 1: as 0, which is gone (KIP-896)
    - 2: flexible
    - 3: another owner (KIP-373)
    """

    owner_principal_type: str | None = string("3+", nullable="3+")  # null: whoever asks
    owner_principal_name: str | None = string("3+", nullable="3+")  # null: whoever asks
    renewers: list[CreatableRenewers] = array(CreatableRenewers)  # may renew the token before it expires
    max_lifetime_ms: int = int64()  # -1: as the broker is configured


@response(38, "1-3", flexible="2+")
class CreateDelegationTokenResponse:
    """Hand out the token: its id and its HMAC are user name and password for SCRAM.

    - 2: flexible
    - 3: who asked for it (KIP-373)
    """

    error_code: int = int16()
    principal_type: str = string()
    principal_name: str = string()
    token_requester_principal_type: str = string("3+")
    token_requester_principal_name: str = string("3+")
    issue_timestamp_ms: int = int64()
    expiry_timestamp_ms: int = int64()  # unless it is renewed
    max_timestamp_ms: int = int64()  # it cannot be renewed beyond that
    token_id: str = string()
    hmac: bytes = bytes_()  # the secret
    throttle_time_ms: int = int32()


@request(39, "1-2", flexible="2+")
class RenewDelegationTokenRequest:
    """Extend a token's life.

    - 1: as 0, which is gone (KIP-896)
    - 2: flexible
    """

    hmac: bytes = bytes_()  # says which token
    renew_period_ms: int = int64()  # from now; -1: as the broker is configured


@response(39, "1-2", flexible="2+")
class RenewDelegationTokenResponse:
    """Say when the token expires now.

    - 2: flexible
    """

    error_code: int = int16()
    expiry_timestamp_ms: int = int64()
    throttle_time_ms: int = int32()


@request(40, "1-2", flexible="2+")
class ExpireDelegationTokenRequest:
    """Shorten a token's life.

    - 1: as 0, which is gone (KIP-896)
    - 2: flexible
    """

    hmac: bytes = bytes_()  # says which token
    expiry_time_period_ms: int = int64()  # from now; negative: at once


@response(40, "1-2", flexible="2+")
class ExpireDelegationTokenResponse:
    """Say when the token expires now.

    - 2: flexible
    """

    error_code: int = int16()
    expiry_timestamp_ms: int = int64()
    throttle_time_ms: int = int32()


@struct()
class DescribeDelegationTokenOwner:
    principal_type: str = string()
    principal_name: str = string()


@request(41, "1-3", flexible="2+")
class DescribeDelegationTokenRequest:
    """Ask for the tokens that one may see.

    - 1: as 0, which is gone (KIP-896)
    - 2: flexible
    - 3: only the response differs (KIP-373)
    """

    # null: anybody
    owners: list[DescribeDelegationTokenOwner] | None = array(DescribeDelegationTokenOwner, nullable="0+")


@struct()
class DescribedDelegationTokenRenewer:
    principal_type: str = string()
    principal_name: str = string()


@struct()
class DescribedDelegationToken:
    principal_type: str = string()
    principal_name: str = string()
    token_requester_principal_type: str = string("3+")
    token_requester_principal_name: str = string("3+")
    issue_timestamp: int = int64()  # ms
    expiry_timestamp: int = int64()  # ms; unless it is renewed
    max_timestamp: int = int64()  # ms; it cannot be renewed beyond that
    token_id: str = string()
    hmac: bytes = bytes_()  # the secret
    renewers: list[DescribedDelegationTokenRenewer] = array(DescribedDelegationTokenRenewer)


@response(41, "1-3", flexible="2+")
class DescribeDelegationTokenResponse:
    """List tokens.

    - 2: flexible
    - 3: who asked for them (KIP-373)
    """

    error_code: int = int16()
    tokens: list[DescribedDelegationToken] = array(DescribedDelegationToken)
    throttle_time_ms: int = int32()


@struct()
class UserName:
    name: str = string()


@request(50, "0", flexible="0+")
class DescribeUserScramCredentialsRequest:
    """Ask which SCRAM credentials users have (KIP-554)."""

    users: list[UserName] | None = array(UserName, nullable="0+")  # null: all


@struct()
class CredentialInfo:
    mechanism: int = int8()  # 1 SCRAM-SHA-256, 2 SCRAM-SHA-512
    iterations: int = int32()


@struct()
class DescribeUserScramCredentialsResult:
    user: str = string()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    credential_infos: list[CredentialInfo] = array(CredentialInfo)


@response(50, "0", flexible="0+")
class DescribeUserScramCredentialsResponse:
    """List credentials, without their secrets (KIP-554)."""

    throttle_time_ms: int = int32()
    error_code: int = int16()  # of the request as a whole
    error_message: str | None = string(nullable="0+")
    results: list[DescribeUserScramCredentialsResult] = array(DescribeUserScramCredentialsResult)


@struct()
class ScramCredentialDeletion:
    name: str = string()
    mechanism: int = int8()  # 1 SCRAM-SHA-256, 2 SCRAM-SHA-512


@struct()
class ScramCredentialUpsertion:
    name: str = string()
    mechanism: int = int8()  # 1 SCRAM-SHA-256, 2 SCRAM-SHA-512
    iterations: int = int32()
    salt: bytes = bytes_()
    salted_password: bytes = bytes_()  # hashed by the client; the password itself is never sent


@request(51, "0", flexible="0+")
class AlterUserScramCredentialsRequest:
    """Delete, create and replace SCRAM credentials (KIP-554)."""

    deletions: list[ScramCredentialDeletion] = array(ScramCredentialDeletion)
    upsertions: list[ScramCredentialUpsertion] = array(ScramCredentialUpsertion)


@struct()
class AlterUserScramCredentialsResult:
    user: str = string()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")


@response(51, "0", flexible="0+")
class AlterUserScramCredentialsResponse:
    """Say of each user whether the credentials changed (KIP-554)."""

    throttle_time_ms: int = int32()
    results: list[AlterUserScramCredentialsResult] = array(AlterUserScramCredentialsResult)
