"""No Django views: every route is django-bolt's."""

urlpatterns: list[object] = []
