"""The fast path: makes the same statements as event-routing-backends (ERB), several times as fast.

What is replaced, in the job's process only (:mod:`.sources` lists it):

* ERB's look-ups of users, external ids and courses: the job makes many at once, and keeps the results
  (:mod:`.lookups`);
* some of ERB's small helpers, its access to Django's settings, and filters that nobody has configured
  (:mod:`.patches`);
* how tincan creates objects and turns them into plain data (:mod:`.tincan`) and into JSON (:mod:`.encoder`);
* how ERB's xAPI transformers get from an event to a statement (:mod:`.routes`), and how they make ids
  (:mod:`.patches`, :mod:`.block_ids`);
* the creation of equal actors, verbs and courses: statements share one object instead (:mod:`.interning`);
* ERB's xAPI processor, which serialises each statement several times (:mod:`.xapi`).

Independent of all this, and only if a setting asks for it: the look-up of external ids also finds those of deleted
users (:mod:`.deleted_users`).

The invariant: the same statements, byte for byte, and the same errors. ERB's own code runs wherever the fast path is
not certain: for another type, a subclass, a transformer of another plugin, or after an exception.

Where another plugin has replaced code of ERB or tincan at run time, nothing is replaced for that transformer type, and
the job says so (:mod:`.foreign_code`).

How it is proven: the parity tests (``tests/job/test_parity.py``, ``tests/job/test_fast_path.py``, ``tests/fast``)
compare every type of event, in many variations, with the results of unchanged ERB.

How it is turned off: ``TRANSFORM_LOGS_FAST_PATH: false`` (``--no-fast-path``). Then nothing is replaced.

Other versions of ERB or tincan: the code to replace is recognised by the digest of its source. Code with an unknown
digest is not replaced; the rest still is. ``python -m tutor_transform_logs.lms_job.fast_path``, run in the LMS, prints
the digests found and whether each is known. CONTRIBUTING.rst says what to do for a new version.
"""
