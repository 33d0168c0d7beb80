"""Access control lists: DescribeAcls (key 29), CreateAcls (30), DeleteAcls (31) (KIP-140).

Numbers: resource type 1 any, 2 topic, 3 group, 4 cluster, 5 transactional id, 6 delegation token, 7 user; pattern
type 1 any, 2 match (a name's literal, prefix and wildcard patterns), 3 literal, 4 prefixed; operation 1 any, 2 all, 3
read, 4 write, 5 create, 6 delete, 7 alter, 8 describe, 9 cluster action, 10 describe configs, 11 alter configs, 12
idempotent write, 13 create tokens, 14 describe tokens, 15 two-phase commit; permission 1 any, 2 deny, 3 allow. Any
and match occur in filters only.
"""

from wire.schema import array, int8, int16, int32, request, response, string, struct


@request(29, "1-3", flexible="2+")
class DescribeAclsRequest:
    """Ask for the ACLs that match a filter; null matches everything.

    - 1: pattern types (KIP-290); version 0 is gone (KIP-896)
    - 2: flexible
    - 3: the resource type "user" (KIP-373)
    """

    resource_type_filter: int = int8()
    resource_name_filter: str | None = string(nullable="0+")
    pattern_type_filter: int = int8("1+", default=3)
    principal_filter: str | None = string(nullable="0+")
    host_filter: str | None = string(nullable="0+")
    operation: int = int8()
    permission_type: int = int8()


@struct()
class AclDescription:
    principal: str = string()  # such as "User:alice", or "User:*"
    host: str = string()  # an address, or "*"
    operation: int = int8()
    permission_type: int = int8()


@struct()
class DescribeAclsResource:
    resource_type: int = int8()
    resource_name: str = string()
    pattern_type: int = int8("1+", default=3)
    acls: list[AclDescription] = array(AclDescription)


@response(29, "1-3", flexible="2+")
class DescribeAclsResponse:
    """List ACLs by resource.

    - 1: pattern types (KIP-290)
    - 2: flexible
    - 3: the resource type "user" (KIP-373)
    """

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    resources: list[DescribeAclsResource] = array(DescribeAclsResource)


@struct()
class AclCreation:
    resource_type: int = int8()
    resource_name: str = string()
    resource_pattern_type: int = int8("1+", default=3)
    principal: str = string()  # such as "User:alice", or "User:*"
    host: str = string()  # an address, or "*"
    operation: int = int8()
    permission_type: int = int8()


@request(30, "1-3", flexible="2+")
class CreateAclsRequest:
    """Create ACLs.

    - 1: pattern types (KIP-290); version 0 is gone (KIP-896)
    - 2: flexible
    - 3: the resource type "user" (KIP-373)
    """

    creations: list[AclCreation] = array(AclCreation)


@struct()
class AclCreationResult:
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")


@response(30, "1-3", flexible="2+")
class CreateAclsResponse:
    """Say of each ACL, in the request's order, whether it was created.

    - 2: flexible
    """

    throttle_time_ms: int = int32()
    results: list[AclCreationResult] = array(AclCreationResult)


@struct()
class DeleteAclsFilter:
    resource_type_filter: int = int8()
    resource_name_filter: str | None = string(nullable="0+")
    pattern_type_filter: int = int8("1+", default=3)
    principal_filter: str | None = string(nullable="0+")
    host_filter: str | None = string(nullable="0+")
    operation: int = int8()
    permission_type: int = int8()


@request(31, "1-3", flexible="2+")
class DeleteAclsRequest:
    """Delete the ACLs that match any of some filters; null matches everything.

    - 1: pattern types (KIP-290); version 0 is gone (KIP-896)
    - 2: flexible
    - 3: the resource type "user" (KIP-373)
    """

    filters: list[DeleteAclsFilter] = array(DeleteAclsFilter)  # answered in this order


@struct()
class DeleteAclsMatchingAcl:
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    resource_type: int = int8()
    resource_name: str = string()
    pattern_type: int = int8("1+", default=3)
    principal: str = string()
    host: str = string()
    operation: int = int8()
    permission_type: int = int8()


@struct()
class DeleteAclsFilterResult:
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    matching_acls: list[DeleteAclsMatchingAcl] = array(DeleteAclsMatchingAcl)  # what was deleted


@response(31, "1-3", flexible="2+")
class DeleteAclsResponse:
    """Say for each filter what it deleted.

    - 1: pattern types (KIP-290)
    - 2: flexible
    - 3: the resource type "user" (KIP-373)
    """

    throttle_time_ms: int = int32()
    filter_results: list[DeleteAclsFilterResult] = array(DeleteAclsFilterResult)
