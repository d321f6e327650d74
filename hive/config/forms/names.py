"""Names of connectors: those that are known though nobody has built them here, and other systems' words for ours."""

from __future__ import annotations

import re

PLANNED = frozenset(
    (
        # databases
        *("mysql", "mariadb", "mongodb", "oracle", "sqlserver", "snowflake", "bigquery", "dynamodb"),
        # interfaces
        *("graphql", "soap", "grpc", "websocket", "webhook", "salesforce", "servicenow"),
        *("noaa_weather", "jira", "github", "datadog"),
        # files
        *("s3", "gcs", "azure_blob", "ftp", "sftp", "network_drive", "sharepoint", "google_drive", "dropbox"),
        # streams
        *("kafka", "rabbitmq", "kinesis", "pubsub", "redis_streams", "mqtt"),
        # clouds and directories
        *("aws", "gcp", "azure", "google_workspace", "ldap", "okta", "kubernetes", "elder"),
        # processors and pollinators
        *("etl_worker_bee", "validation_worker_bee", "encryption_worker_bee"),
        *("replication_worker_bee", "cdc_worker_bee", "backup_worker_bee"),
    )
)
"""What files of other systems may name. A bee of one of these loads, and cannot fly where no connector has the name."""

ALIASES = {
    "postgres": "postgresql",
    "mariadb": "mysql",
    "database": "postgresql",
    "database_worker_bee": "postgresql",
    "api": "rest",
    "rest_api": "rest",
    "restapi": "rest",
    "api_worker": "rest",
    "api_worker_bee": "rest",
    "file": "local",
    "local_files": "local",
    "file_worker": "local",
    "file_system_worker_bee": "local",
    "message_queue": "kafka",
    "stream_worker": "kafka",
    "stream_worker_bee": "kafka",
    "sql_server": "sqlserver",
    "mssql": "sqlserver",
    "azureblob": "azure_blob",
    "googledrive": "google_drive",
    "gdrive": "google_drive",
    "ftps": "ftp",
    "network_drive": "smb",
    "samba": "smb",
    "cifs": "smb",
    "azure_blob_storage": "azure_blob",
    "pub_sub": "pubsub",
    "redis_stream": "redis_streams",
    "amazon_s3": "s3",
    "google_cloud_storage": "gcs",
}
_GENERAL = ("file_worker", "stream_worker", "file_system_worker_bee", "stream_worker_bee")
"""Types whose own options name the kind: `type: file_worker` with `config: {type: sftp}`."""
_CLASS = re.compile(r"([A-Za-z0-9]+?)Worker(Bee)?")


def connector_named(word: str) -> str:
    """Our name of what another system calls `word`: "NOAA_WEATHER" is noaa_weather, "api_worker" is rest.

    So are names of classes: "PostgreSQLWorkerBee" is postgresql, "FileWorker" local.
    """
    plain = _plain(word)
    return ALIASES.get(plain, plain)


def is_general(word: str) -> bool:
    """Whether the type says no more than the family, and an option `type` beside it says which one."""
    return _plain(word) in _GENERAL


def _plain(word: str) -> str:
    named = _CLASS.fullmatch(word)
    if named is None:
        return re.sub(r"[^a-z0-9]+", "_", word.casefold()).strip("_")
    family = f"{named[1].casefold()}_worker"
    return family if family in ALIASES else named[1].casefold()


def snake(word: str) -> str:
    """`requestTimeoutMs` as request_timeout_ms."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", word).lower()


def camel(word: str) -> str:
    """`REQUEST_TIMEOUT_MS` as requestTimeoutMs."""
    first, *rest = word.lower().split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
