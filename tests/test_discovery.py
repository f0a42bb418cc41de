"""The application that a command line names (REQUESTS 1, "App discovery")."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fastlane.discovery import DiscoveryError, Target, load_app, parse_target

ASGI = "async def app(scope, receive, send): ...\n"

Write = Callable[[str, str], Path]


def failure(text: str, app_dir: str = "") -> str:
    with pytest.raises(DiscoveryError) as caught:
        load_app(text, app_dir)
    assert caught.value.exit_code == 4
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("blog", ("blog", "", "app", False)),
        ("shop.main:api", ("shop.main", "", "api", False)),
        ("shop.main:sites.admin", ("shop.main", "", "sites.admin", False)),
        ("blog:create_app()", ("blog", "", "create_app", True)),
        ("src/shop/main.py", ("", "src/shop/main.py", "app", False)),
        ("main.py:api", ("", "main.py", "api", False)),
        ("C:\\shop\\main.py", ("", "C:\\shop\\main.py", "app", False)),
        ("C:\\shop\\main.py:make()", ("", "C:\\shop\\main.py", "make", True)),
    ],
)
def test_a_target_is_a_module_or_a_file_and_an_attribute(text: str, target: tuple[str, str, str, bool]) -> None:
    assert parse_target(text) == Target(text, *target)


@pytest.mark.parametrize("text", ["", ":app", "blog:", "blog:1app", "blog:app()()", "blog:a b"])
def test_a_target_without_a_usable_attribute_is_refused(text: str) -> None:
    with pytest.raises(DiscoveryError, match=r"expected module:attribute, such as blog:app"):
        parse_target(text)


def test_a_target_without_a_usable_module_is_refused() -> None:
    with pytest.raises(DiscoveryError, match=r"'my-blog:app' names no module: expected dotted names"):
        parse_target("my-blog:app")


def test_the_attribute_is_app_when_left_out(write: Write) -> None:
    write("blog.py", ASGI)
    assert load_app("blog") is sys.modules["blog"].app


def test_the_working_directory_beats_what_is_installed(write: Write, tmp_path: Path) -> None:
    write("installed/blog.py", "app = None\n")
    write("blog.py", ASGI)
    sys.path.insert(0, str(tmp_path / "installed"))
    assert callable(load_app("blog:app"))
    assert sys.path[0] == str(tmp_path)


def test_a_dotted_module_and_a_dotted_attribute_are_followed(write: Write) -> None:
    write("shop/__init__.py", "")
    write("shop/main.py", f"class sites:\n    @staticmethod\n    {ASGI.replace('app', 'admin')}")
    assert load_app("shop.main:sites.admin") is sys.modules["shop.main"].sites.admin


def test_app_dir_comes_first(write: Write, tmp_path: Path) -> None:
    write("src/blog.py", ASGI)
    load_app("blog", "src")
    assert sys.path[0] == str(tmp_path / "src")


def test_an_app_dir_that_is_missing_is_named(write: Write) -> None:
    assert failure("blog", "nowhere") == "--app-dir 'nowhere': there is no such directory"


def test_a_file_is_imported_under_its_packages_name(write: Write, tmp_path: Path) -> None:
    write("src/shop/__init__.py", "")
    write("src/shop/web/__init__.py", "")
    write("src/shop/web/main.py", "from shop import web\n" + ASGI)
    assert load_app("src/shop/web/main.py").__module__ == "shop.web.main"  # type: ignore[attr-defined]
    assert sys.path[0] == str(tmp_path / "src")


def test_a_packages_init_file_is_the_package(write: Write) -> None:
    write("shop/__init__.py", ASGI)
    assert load_app("shop/__init__.py").__module__ == "shop"  # type: ignore[attr-defined]


def test_a_file_whose_name_no_import_can_spell_is_loaded(write: Write) -> None:
    write("my-app.py", ASGI)
    assert load_app("my-app.py:app").__module__ == "my_app"  # type: ignore[attr-defined]


def test_a_file_whose_module_name_is_taken_is_refused(write: Write) -> None:
    write("json.py", ASGI)
    assert "the module name 'json' is taken by" in failure("./json.py")
    write("sys.py", ASGI)
    assert "the module name 'sys' is taken by a built-in module. Rename the file." in failure("./sys.py")


def test_a_file_that_is_missing_is_named_with_its_nearest_neighbour(write: Write) -> None:
    write("src/main.py", ASGI)
    assert failure("src/mian.py") == "there is no file 'src/mian.py'. Did you mean 'main.py'?"
    assert failure("src/main") == "there is no file 'src/main'. Did you mean 'src/main.py'?"
    assert failure("nowhere/main.py") == "there is no file 'nowhere/main.py'."


def test_a_factory_is_called(write: Write) -> None:
    write("blog.py", f"def create_app():\n    {ASGI}    return app\n")
    assert load_app("blog:create_app()").__qualname__ == "create_app.<locals>.app"  # type: ignore[attr-defined]


def test_a_factory_without_parentheses_is_recognised(write: Write) -> None:
    write("blog.py", "def create_app(debug=False): ...\n")
    assert failure("blog:create_app").endswith("If it makes the application, write 'blog:create_app()'")


def test_a_factory_that_fails_points_into_the_users_file(write: Write) -> None:
    path = write("blog.py", "def create_app():\n    raise KeyError('DATABASE_URL')\n")
    report = failure("blog:create_app()")
    assert report.startswith(f"the factory blog:create_app() failed: KeyError: 'DATABASE_URL'\n    at {path}:2\n")


def test_an_async_factory_is_refused(write: Write, recwarn: pytest.WarningsRecorder) -> None:
    write("blog.py", "async def create_app(): ...\n")
    assert "the factory is async. Make it a plain function" in failure("blog:create_app()")


def test_parentheses_after_what_is_no_function_are_refused(write: Write) -> None:
    write("blog.py", "app = 3\n")
    assert failure("blog:app()") == "blog:app(): app is no function, but an int. Leave the () out."


def test_a_module_that_is_missing_is_told_with_its_nearest_neighbour(write: Write, tmp_path: Path) -> None:
    write("blog.py", ASGI)
    report = failure("blgo:app")
    assert report == f"there is no module 'blgo' in {tmp_path}, nor elsewhere on sys.path. Did you mean 'blog'?"


def test_a_missing_submodule_is_looked_for_in_its_package(write: Write, tmp_path: Path) -> None:
    write("shop/__init__.py", "")
    write("shop/main.py", ASGI)
    assert failure("shop.mian:app").startswith(f"there is no module 'shop.mian' in {tmp_path / 'shop'}")
    assert failure("shop.mian:app").endswith("Did you mean 'shop.main'?")


def test_a_dot_where_a_colon_is_meant_is_recognised(write: Write) -> None:
    path = write("blog.py", ASGI)
    expected = f"there is no module 'blog.app': 'blog' is a module ({path}), not a package."
    assert failure("blog.app") == f"{expected} Did you mean blog:app?"
    assert failure("blog.nothing") == expected.replace("blog.app", "blog.nothing")


def test_a_module_one_directory_down_is_found_for_the_hint(write: Write) -> None:
    write("src/blog.py", ASGI)
    assert failure("blog:app").endswith("It is in src/: try --app-dir src")


def test_a_module_that_is_nowhere_has_no_hint(write: Write) -> None:
    assert failure("zzqx:app").endswith("nor elsewhere on sys.path.")


def test_an_import_that_fails_inside_the_module_points_at_its_line(write: Write) -> None:
    path = write("blog.py", "import sys\nimport not_installed_here\n" + ASGI)
    report = failure("blog:app")
    assert report.startswith("can't import blog: ModuleNotFoundError: No module named 'not_installed_here'")
    assert f"(in the environment of {sys.executable})\n    at {path}:2\n" in report
    assert "importlib" not in report
    assert "discovery.py" not in report


def test_a_missing_module_of_the_same_name_inside_a_package_is_the_users_mistake(write: Write) -> None:
    path = write("shop/__init__.py", "import shop.missing\n")
    report = failure("shop.missing:app")
    assert f"at {path}:1" in report
    assert report.startswith("can't import shop.missing: ModuleNotFoundError")


def test_a_syntax_error_points_at_its_line(write: Write) -> None:
    path = write("blog.py", "app = 1\ndef broken(:\n")
    report = failure("blog:app")
    assert report.startswith("can't import blog: SyntaxError: invalid syntax")
    assert f"at {path}:2" in report


def test_an_exception_at_import_keeps_the_users_frames_only(write: Write) -> None:
    write("settings.py", "def read():\n    raise RuntimeError('no settings')\n")
    write("blog.py", "import settings\nsettings.read()\n")
    report = failure("blog:app")
    assert report.count('File "') == 2
    assert report.endswith("RuntimeError: no settings")


def test_the_place_is_the_users_deepest_line_and_not_a_librarys(write: Write) -> None:
    path = write("blog.py", "import json\n\njson.loads('{')\n")
    assert f"\n    at {path}:3\n" in failure("blog:app")


def test_sys_exit_at_import_is_explained(write: Write) -> None:
    write("blog.py", "import sys\nsys.exit(3)\n")
    assert "the module called sys.exit(3) while it was imported" in failure("blog:app")


def test_a_compile_error_brings_its_own_place_and_no_traceback(write: Write) -> None:
    write(
        "blog.py",
        "from fastlane.errors import CompileError\n"
        "raise CompileError('no', mend='yes', handler='get_post', file='blog.py', line=7)\n",
    )
    assert failure("blog:app") == (
        "can't import blog: a declaration can't be compiled\nblog.py:7: handler 'get_post': no\n    mend: yes"
    )


def test_a_compile_error_without_a_place_gets_the_line_that_was_imported(write: Write) -> None:
    path = write("blog.py", "from fastlane import Query\n\nQuery(ge=1)\n")
    assert f"a declaration can't be compiled\n{path}:3: Query() has no ge=\n    mend: " in failure("blog:app")


def test_a_file_that_fails_is_reported_by_its_path(write: Write) -> None:
    write("my-app.py", "1 / 0\n")
    assert failure("my-app.py").startswith("can't import my-app.py: ZeroDivisionError: division by zero")


def test_a_missing_attribute_is_told_with_its_nearest_neighbour(write: Write) -> None:
    path = write("blog.py", ASGI.replace("app", "application"))
    assert failure("blog:applicatoin") == (
        f"'blog' has no attribute 'applicatoin' ({path}). Did you mean 'blog:application'?"
    )


def test_a_missing_attribute_without_a_neighbour_lists_the_applications(write: Write) -> None:
    write("blog.py", "limit = 3\ndef helper(): ...\n" + ASGI.replace("app", "site"))
    assert failure("blog").endswith("It has these applications: site.")


def test_a_missing_nested_attribute_names_what_was_searched(write: Write) -> None:
    write("blog.py", "class sites:\n    admin = 3\n    __slots__ = ()\n")
    assert "'blog.sites' has no attribute 'amdin'" in failure("blog:sites.amdin")
    assert "Did you mean 'blog:sites.admin'?" in failure("blog:sites.amdin")
    assert "'blog.sites.admin' has no attribute 'x'" in failure("blog:sites.admin.x")


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("app = 3", "blog:app is no ASGI application, but an int"),
        ("def app(environ, start_response): ...", "blog:app takes two arguments, like a WSGI application"),
        ("def app(a, b, c, d): ...", "it takes 4 arguments instead of scope, receive and send"),
    ],
)
def test_what_is_no_asgi_application_is_refused(write: Write, code: str, complaint: str) -> None:
    write("blog.py", code)
    assert complaint in failure("blog:app")


@pytest.mark.parametrize(
    "code",
    [
        "class App:\n    async def __call__(self, scope, receive, send): ...\napp = App()",
        "class App:\n    async def serve(self, scope, receive, send): ...\napp = App().serve",
        "import functools\nasync def serve(extra, scope, receive, send): ...\napp = functools.partial(serve, 1)",
        "async def app(*arguments): ...",
        "async def app(scope, receive, send, extra=None): ...",
        "class app:\n    def __init__(self, scope, receive, send): ...",
    ],
    ids=["instance", "method", "partial", "varargs", "default", "class"],
)
def test_every_shape_of_an_asgi_application_is_taken(write: Write, code: str) -> None:
    write("blog.py", code)
    assert callable(load_app("blog:app"))
