"""The WSGI application, as gunicorn loads it."""

import os

from django.core.wsgi import get_wsgi_application

from pvc_web.database.base import limit_answers

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pvc_web.config.settings")
limit_answers()

application = get_wsgi_application()
