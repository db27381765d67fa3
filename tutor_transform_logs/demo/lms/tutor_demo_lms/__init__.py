"""The Django project of the embedded LMS (``DJANGO_SETTINGS_MODULE=tutor_demo_lms.settings``)."""
