"""Announce each change of a task to those who wait for it, in the transaction that makes the change.

A heartbeat is no change: it sets none of the columns that are named here.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION pvc_announce_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('pvc_task', NEW.id || ' ' || CASE WHEN NEW.cancel_requested THEN 't' ELSE 'f' END);
    RETURN NULL;
END
$$;
CREATE TRIGGER pvc_announce_task
    AFTER INSERT OR UPDATE OF state, cancel_requested, current, total, message ON tasks_task
    FOR EACH ROW EXECUTE FUNCTION pvc_announce_task();
"""

BACKWARD = """
DROP TRIGGER pvc_announce_task ON tasks_task;
DROP FUNCTION pvc_announce_task();
"""


class Migration(migrations.Migration):
    dependencies = [("tasks", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
