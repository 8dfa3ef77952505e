#!/usr/bin/env python3
"""Django's entry point: ``python manage.py migrate``, ``create_admin`` and the like."""

import os
import sys

from pvc_core.errors import PvcError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pvc_web.config.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except PvcError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
