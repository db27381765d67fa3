"""What Tutor's development settings start from."""

from __future__ import annotations

from lms.envs.production import *  # noqa: F403

DEBUG = True
SYSTEM_WIDE_ROLE_CLASSES = ["enterprise.SystemWideEnterpriseUserRoleAssignment"]
