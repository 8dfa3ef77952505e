"""Django's settings. What differs between installations comes from ``pvc.conf``."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from pvc_core.config import load

PVC = load()

SECRET_KEY = PVC.secret(PVC.api.secret_key_file)
DEBUG = False
ALLOWED_HOSTS = list(PVC.api.allowed_hosts)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "pvc_web.accounts",
    "pvc_web.tasks",
    "pvc_web.peers",
    "pvc_web.schedules",
    "pvc_web.storage",
    "pvc_web.ui",
]

MIDDLEWARE = [
    "pvc_web.database.reads.RepeatReads",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

ROOT_URLCONF = "pvc_web.config.urls"
WSGI_APPLICATION = "pvc_web.config.wsgi.application"

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "pvc_web.database",
        "HOST": ",".join(host for host, _ in PVC.postgresql.servers),
        "PORT": ",".join(str(port) for _, port in PVC.postgresql.servers),
        "NAME": PVC.postgresql.name,
        "USER": PVC.postgresql.user,
        "PASSWORD": PVC.secret(PVC.postgresql.password_file),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": 2,
            "target_session_attrs": "read-write",
            # A server that vanished without a word is noticed in seconds, not after the kernel's quarter of an hour.
            "keepalives_idle": 2,
            "keepalives_interval": 1,
            "keepalives_count": 3,
            "tcp_user_timeout": 4000,
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = LOGOUT_REDIRECT_URL = "ui:login"
LOGIN_REDIRECT_URL = "ui:overview"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = bool(PVC.api.tls_certificate)
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"

LANGUAGE_CODE = "en-us"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

# Disk images: straight to disk, where the worker of this node finds them.
# An upload lies there from its first byte on; Django refuses to start where the directory is missing.
FILE_UPLOAD_TEMP_DIR = PVC.daemon.spool_directory
Path(FILE_UPLOAD_TEMP_DIR).mkdir(mode=0o700, parents=True, exist_ok=True)
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # straight from the installed packages, so that there is nothing to collect

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "pvc_web.accounts.authentication.TokenAuthentication",
        "pvc_web.accounts.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "pvc_web.api.openapi.ViewSchema",
    "EXCEPTION_HANDLER": "pvc_web.api.errors.handle",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Parallel Virtual Cluster",
    "DESCRIPTION": "Nodes, virtual machines, networks, storage and tasks of one cluster.",
    "VERSION": "1.0",
    "OAS_VERSION": "3.1.0",  # msgspec writes JSON Schema as this version has it
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "pvc_web.api.schema.add_documents",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

CELERY_BROKER_URL = PVC.redis.url
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # for ever: Redis comes back, and so do its messages
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "master_name": PVC.redis.master_name,
    "sentinel_kwargs": {"socket_connect_timeout": 1, "socket_timeout": 1},
    "socket_connect_timeout": 1,
    "socket_timeout": 2,  # longer than the second for which a worker waits for a message
    "socket_keepalive": True,
    # The same as of the database: a worker that only waits would never notice that nobody is there any more.
    "socket_keepalive_options": {
        socket.TCP_KEEPIDLE: 2,
        socket.TCP_KEEPINTVL: 1,
        socket.TCP_KEEPCNT: 3,
        socket.TCP_USER_TIMEOUT: 4000,
    },
    "health_check_interval": 10,
    "priority_steps": [0],
}
CELERY_TASK_DEFAULT_QUEUE = "cluster.control"
CELERY_TASK_IGNORE_RESULT = True  # the record of a task is in PostgreSQL
CELERY_RESULT_EXPIRES = None
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_TIMEZONE = TIME_ZONE

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    # Celery would tell of each message that it comes and that it is done; the tasks' own log says more.
    "loggers": {name: {"level": "WARNING"} for name in ("kazoo", "celery.worker.strategy", "celery.app.trace")},
}
