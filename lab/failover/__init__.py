"""``make failover``: the table of what may go wrong, made to go wrong, and how long the machines were away.

Each run of a row begins with a healthy cluster and three machines on one node, breaks something, and watches from
outside the nodes which of them have a QEMU of each machine. The guests count on their disks, so that a disk that two
had written would show it.
"""
