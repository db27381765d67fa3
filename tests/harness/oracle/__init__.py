"""The random oracle: rounds of random logs and random trouble, of which it knows what must arrive.

events         the lines of the logs, each with a time of its own by which its statements are recognised
places         where logs and outputs are: folders and buckets
logs           what happens to logs: lines, rotations, compression, clones, restored backups
reference      what must arrive, from what was written alone
destinations   where statements go, and what has arrived there
jobs           what the jobs of a round are, and how each of their runs is set up
runs           runs that are killed, interrupted, suspended, or started twice
rounds         one round, from its seed
campaign       rounds, two at a time: 500 of them, or those of a minute
"""
