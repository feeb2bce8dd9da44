"""Name the rights that a cluster keeps, to ask for them or to take them."""

from __future__ import annotations

from typing import Any

from confluent_kafka.admin import AclBindingFilter, AclOperation, AclPermissionType, ResourcePatternType, ResourceType


def every_right(principal: str | None = None) -> AclBindingFilter:
    """Match every right of the principal ("User:NAME"), or of anybody."""
    anything: Any = None  # allowed, and not declared
    whose: Any = principal
    return AclBindingFilter(
        ResourceType.ANY,
        anything,
        ResourcePatternType.ANY,
        whose,
        anything,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
