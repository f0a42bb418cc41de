"""The least that Django needs."""

SECRET_KEY = "only for measuring"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["django_bolt"]
BOLT_API = ["bench.apps.bolt.api:api"]
ROOT_URLCONF = "bench.apps.bolt.urls"
USE_TZ = True
LOGGING_CONFIG = None
