"""The job: tracking logs in, xAPI statements or Caliper envelopes out. Runs inside the LMS image."""
