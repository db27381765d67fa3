"""The packages of the distribution. All other metadata is in pyproject.toml.

``patches/`` and ``templates/`` are folders at the top of the repository that are installed inside the package. They are
listed here because pyproject.toml can't list packages that are found and packages that are mapped side by side.
"""

from __future__ import annotations

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["tutor_transform_logs", "tutor_transform_logs.*"]),
        "tutor_transform_logs.patches",
        "tutor_transform_logs.templates",
    ],
    package_dir={
        "tutor_transform_logs.patches": "patches",
        "tutor_transform_logs.templates": "templates",
    },
    package_data={
        "tutor_transform_logs": ["py.typed", "demo/**/*"],
        "tutor_transform_logs.patches": ["*"],
        "tutor_transform_logs.templates": ["**/*"],
    },
    exclude_package_data={"": ["*.pyc", "__pycache__/*"]},
    include_package_data=False,
)
