"""The benchmark: this job beside event-routing-backends' own command and Ralph's ``convert``. See ``__main__``."""
