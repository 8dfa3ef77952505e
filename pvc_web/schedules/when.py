"""When something is due, as a person writes it: a row of cron's five fields in UTC, or an interval."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django_celery_beat.models import CrontabSchedule, IntervalSchedule
from django_celery_beat.validators import crontab_validator

_INTERVAL = re.compile(r"(\d{1,5})\s*([mhd])")
_UNITS = {"m": IntervalSchedule.MINUTES, "h": IntervalSchedule.HOURS, "d": IntervalSchedule.DAYS}
_HINT = "write five fields as for cron, such as 30 2 * * *, or an interval such as 15m, 6h or 1d"


def check_when(text: str) -> None:
    """Raises ValidationError."""
    interval = _INTERVAL.fullmatch(text.strip())
    if interval is not None:
        if not int(interval[1]):
            raise ValidationError(f"{text!r} is no interval; the shortest one is 1m")
        return
    if len(text.split()) != 5:
        raise ValidationError(f"{text!r} does not say when; {_HINT}")
    try:
        crontab_validator(text)
    except ValidationError as error:
        raise ValidationError(f"{text!r}: {' '.join(error.messages)}; {_HINT}") from None


def schedule_of(text: str) -> dict[str, CrontabSchedule | IntervalSchedule | None]:
    """``crontab`` and ``interval`` of a periodic task, of which one is None. The text was checked."""
    interval = _INTERVAL.fullmatch(text.strip())
    if interval is not None:
        every, _ = IntervalSchedule.objects.get_or_create(every=int(interval[1]), period=_UNITS[interval[2]])
        return {"interval": every, "crontab": None}
    names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    crontab = CrontabSchedule.objects.filter(timezone="UTC", **dict(zip(names, text.split(), strict=True))).first()
    crontab = crontab or CrontabSchedule.objects.create(timezone="UTC", **dict(zip(names, text.split(), strict=True)))
    return {"interval": None, "crontab": crontab}
