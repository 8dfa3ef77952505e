"""Arguments of the calls on schedules."""

from __future__ import annotations

from rest_framework import serializers

from pvc_core.model.backup import BootSign
from pvc_web.api.parameters import CsvField, EnumField, FlagField, Parameters


class ListField(serializers.ListField):
    """Several texts, which may hold commas: given repeatedly, or as a JSON list. One empty text: none."""

    child = serializers.CharField(allow_blank=True)

    def to_internal_value(self, data: object) -> list[str]:  # type: ignore[override]
        return [text for text in super().to_internal_value([data] if isinstance(data, str) else data) if text]


def text(help_text: str, *, blank: bool = True) -> serializers.CharField:
    """What is not given stays as it is."""
    return serializers.CharField(required=False, allow_blank=blank, help_text=help_text)


def number(help_text: str, least: int = 0, most: int = 30_000) -> serializers.IntegerField:
    return serializers.IntegerField(required=False, min_value=least, max_value=most, help_text=help_text)


class ScheduleParameters(Parameters):
    when = text("As for cron in UTC, such as 30 2 * * *, or an interval such as 15m, 6h or 1d", blank=False)
    enabled = FlagField(required=False, help_text="Whether it is followed")
    tags = CsvField(default=None, help_text="Machines with any of these tags")
    vms = CsvField(default=None, help_text="Names or uuids of further machines")
    mail = CsvField(default=None, help_text="Addresses that get a report of each run")
    errors_only = FlagField(required=False, help_text="A report only when something failed")
    web_hook = text("URL to which a report is posted as JSON; it is never shown again")


class BackupScheduleParameters(ScheduleParameters):
    target = text("An absolute directory of the nodes, or the name of a target", blank=False)
    keep = text("What is kept: such as last=3,daily=7,weekly=4,monthly=12, or full=2; empty: everything")
    full_interval = number("Every so-manieth backup is a full one", 1, 1000)
    compress = FlagField(required=False, help_text="Compress what is written, where it pays")
    recipients = CsvField(default=None, help_text="Public keys of age for which backups are encrypted")
    verify = FlagField(required=False, help_text="Read each backup back before it counts as complete")
    mount = ListField(required=False, help_text="Commands to run before, each a program's absolute path with arguments")
    unmount = ListField(required=False, help_text="Commands to run after, whatever happened")
    test_when = text("When the newest backups are restored for a try; empty: never")
    test_sign = EnumField(BootSign, required=False, help_text="How a restored machine shows that it has booted")
    test_argument = text("A regular expression for the console, or the command; it gets the VM's name and uuid")
    test_timeout = number("Seconds that a restored machine gets to boot", 1, 86_400)
    test_pool = text("Where disks are restored for a try; empty: the pools they came from")
    identity_file = text("A file of the nodes with the age identity that decrypts the backups")


class MirrorScheduleParameters(ScheduleParameters):
    peer = text("The other cluster", blank=False)
    pool = text("Its pool for the disks; empty: pools of the same names")
    keep = number("Snapshots that are kept here", 1)
    peer_keep = number("Snapshots that are kept there", 1)
    goal = number("Seconds of lag that are a fault; 0: none", 0, 10_000_000)


class NameParameters(Parameters):
    name = serializers.CharField(help_text="Its name")


class TargetParameters(Parameters):
    uri = text(
        "s3://bucket/prefix?endpoint=https://host:port, sftp://user@host:port/path, or file:///path", blank=False
    )
    access_key = text("Of an S3 store")
    secret_key = text("Of an S3 store")
    password = text("Of an SFTP server's user")
    private_key = text("The same as a key in OpenSSH's form, without a passphrase")
    host_key = text("Of an SFTP server: its public key, such as ssh-ed25519 AAAA...")


CREDENTIALS = ("access_key", "secret_key", "password", "private_key", "host_key")


class NewBackupParameters(NameParameters, BackupScheduleParameters):
    pass


class NewMirrorParameters(NameParameters, MirrorScheduleParameters):
    pass


class NewTargetParameters(NameParameters, TargetParameters):
    pass


class PreviewParameters(Parameters):
    keep = serializers.CharField(default="", help_text="Another retention to try, such as last=3,daily=7")


class TestListParameters(Parameters):
    limit = serializers.IntegerField(min_value=1, max_value=10_000, default=50, help_text="The newest so many")


class RunParameters(Parameters):
    email_recipients = CsvField(help_text="Addresses that get the report, beside those of the schedules")
    schedule = CsvField(help_text="Names of schedules; all that are enabled unless given")


class AutobackupParameters(RunParameters):
    force_full = FlagField(default=False, help_text="Make full backups, whatever the schedules say")


class AutomirrorParameters(RunParameters):
    email_errors_only = FlagField(default=False, help_text="Send a report only when something failed")
