"""django-bolt: a Django project of two modules, as its quick start has it."""
