"""Tutor plugin that replays Open edX tracking logs as xAPI or Caliper statements."""
