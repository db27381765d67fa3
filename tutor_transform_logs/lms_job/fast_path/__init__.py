"""The fast path: the same statements as event-routing-backends (ERB) makes, several times as fast.

What is replaced, for the process of the job alone (:mod:`.sources` lists it):

* ERB's look-ups of users, external ids and courses: many at a time, and kept (:mod:`.lookups`);
* some of ERB's small helpers, its reading of Django's settings, and filters that nobody has configured
  (:mod:`.patches`);
* how tincan creates objects and turns them into data (:mod:`.tincan`) and into JSON (:mod:`.encoder`);
* the creation of equal actors, verbs and courses, which statements share instead (:mod:`.interning`);
* the way through ERB's xAPI processor, which serialises each statement three times (:mod:`.xapi`).

The invariant: the same statements, byte for byte, and the same errors. Whatever the fast path does not know for
certain (another type, a subclass, a transformer of another plugin, an exception), ERB's own code does.

How it is proven: the parity tests (``tests/job/test_parity.py``, ``tests/job/test_fast_path.py``, ``tests/fast``)
compare every type of event, in many variations, with ERB as it is.

How it is turned off: ``TRANSFORM_LOGS_FAST_PATH: false`` (``--no-fast-path``). Then nothing is replaced.

Another version of ERB or tincan: replaced code is known by the digest of its source. Code whose source is not known
is left as it is; the others are still replaced. ``python -m tutor_transform_logs.lms_job.fast_path``, run in the LMS,
prints the digests found and whether each is known. CONTRIBUTING.rst says what to do for a new version.
"""
