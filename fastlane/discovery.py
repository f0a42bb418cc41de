"""Find the application that a command line names.

    blog                   attribute ``app`` of the module ``blog``
    shop.main:api          a dotted module, an attribute
    shop.main:sites.admin  a dotted attribute
    src/shop/main.py:api   a file: its package's root goes to the front of ``sys.path``
    blog:create_app()      a factory without arguments

The working directory (or ``--app-dir``) comes first on ``sys.path``. Whatever goes wrong is a `DiscoveryError` whose
text says what was looked for, where, and what was probably meant; a module that is missing is told apart from one that
fails.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from fastlane.errors import CompileError, FastlaneError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType, TracebackType

__all__ = ["DiscoveryError", "Target", "load_app", "parse_target"]


class DiscoveryError(FastlaneError, ImportError):
    """The application can't be found, imported or used. The command ends with exit code 4.

    ``str(error)`` is the whole report: a first line, then the user's part of the traceback where there is one.
    ``__cause__`` is what the user's code raised.
    """

    exit_code = 4


class Target(NamedTuple):
    """A parsed target: ``file`` is empty when a module was named, ``module`` when a file was."""

    text: str
    module: str
    file: str
    attribute: str
    is_factory: bool


def parse_target(text: str) -> Target:
    """Read ``module[:attribute]`` or ``path/file.py[:attribute]``; ``()`` after the attribute calls it.

    Raises:
        DiscoveryError: the text is neither.
    """
    # The colon of a drive letter is followed by a path, so the last colon is the one that matters.
    head, colon, attribute = text.rpartition(":")
    if not colon or "/" in attribute or "\\" in attribute:
        head, attribute = text, "app"
    is_factory = attribute.endswith("()")
    attribute = attribute.removesuffix("()")
    if not head or not all(part.isidentifier() for part in attribute.split(".")):
        raise DiscoveryError(f"{text!r} names no application: expected module:attribute, such as blog:app")
    if head.endswith(".py") or "/" in head or "\\" in head:
        return Target(text, "", head, attribute, is_factory)
    if not all(part.isidentifier() for part in head.split(".")):
        raise DiscoveryError(
            f"{text!r} names no module: expected dotted names, such as shop.main:app, or a path ending in .py"
        )
    return Target(text, head, "", attribute, is_factory)


def load_app(text: str, app_dir: str = "") -> object:
    """Import the module that ``text`` names and answer its application.

    Args:
        text: the target, as `parse_target` reads it.
        app_dir: the directory that comes first on ``sys.path``; default: the working directory. A relative file is
            looked for in the working directory, whatever it is.

    Raises:
        DiscoveryError: see there.
    """
    target = parse_target(text)
    directory = os.path.abspath(app_dir or os.getcwd())
    if not os.path.isdir(directory):
        raise DiscoveryError(f"--app-dir {app_dir!r}: there is no such directory")
    _put_first(directory)
    module = _import_file(target) if target.file else _import_module(target, directory)
    found = _attribute(target, module)
    if target.is_factory:
        found = _called(target, found)
    _check_is_asgi(target, found)
    return found


def _put_first(directory: str) -> None:
    if not sys.path or sys.path[0] != directory:
        sys.path.insert(0, directory)


def _import_file(target: Target) -> ModuleType:
    path = os.path.abspath(target.file)
    if not os.path.isfile(path):
        if os.path.isfile(path + ".py"):
            raise DiscoveryError(f"there is no file {target.file!r}. Did you mean {target.file + '.py'!r}?")
        near = _closest(os.path.basename(path), _listed(os.path.dirname(path), files=True))
        raise DiscoveryError(f"there is no file {target.file!r}.{_did_you_mean(near)}")
    root, name = os.path.split(path.removesuffix(".py"))
    if name == "__init__":
        root, name = os.path.split(root)
    while os.path.isfile(os.path.join(root, "__init__.py")):
        root, package = os.path.split(root)
        name = f"{package}.{name}"
    _put_first(root)
    if all(part.isidentifier() for part in name.split(".")):
        module = _run(target.file, lambda: importlib.import_module(name))
        if not os.path.samefile(getattr(module, "__file__", None) or os.devnull, path):
            raise DiscoveryError(
                f"{target.file} can't be imported: the module name {name!r} is taken by "
                f"{getattr(module, '__file__', None) or 'a built-in module'}. Rename the file."
            )
        return module
    return _run(target.file, lambda: _import_unnameable(name, path))


def _import_unnameable(name: str, path: str) -> ModuleType:
    """A file such as ``my-app.py``, which no import statement can name."""
    name = name.replace("-", "_").replace(" ", "_")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DiscoveryError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import_module(target: Target, directory: str) -> ModuleType:
    return _run(target.module, lambda: importlib.import_module(target.module), directory)


def _run(name: str, load: Callable[[], ModuleType], directory: str = "") -> ModuleType:
    """Import, and turn whatever comes out into one report."""
    try:
        return load()
    except DiscoveryError:
        raise
    except (Exception, SystemExit) as error:
        error.__traceback__ = _of_the_user(error.__traceback__)
        if directory and isinstance(error, ModuleNotFoundError) and error.__traceback__ is None:
            raise DiscoveryError(_missing_module(name, error, directory)) from None
        raise DiscoveryError(f"can't import {name}: {_report(error)}") from error


def _of_the_user(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is neither ours nor the import system's."""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if file != __file__ and not file.startswith("<frozen importlib") and file != importlib.__file__:
            return traceback
        traceback = traceback.tb_next
    return None


def _report(error: BaseException) -> str:
    import traceback  # here, because only a failure needs it

    place = _place_of(error)
    if isinstance(error, CompileError):  # has a mend, which a traceback would bury
        return f"a declaration can't be compiled\n{'' if error.file else f'{place}: '}{error}"
    headline = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SystemExit):
        headline = f"the module called sys.exit({error.code!r}) while it was imported"
    elif isinstance(error, ModuleNotFoundError):
        headline += f" (in the environment of {sys.executable})"
    full = "".join(traceback.format_exception(error)).rstrip()
    return f"{headline}\n    at {place}\n\n{full}" if place else f"{headline}\n\n{full}"


def _place_of(error: BaseException) -> str:
    """File and line; empty where there is no traceback."""
    import traceback

    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)[::-1]
    # The deepest line that the user wrote says more than the library's line that it led to.
    frame = next((frame for frame in frames if _is_users(frame.filename)), next(iter(frames), None))
    return f"{frame.filename}:{frame.lineno}" if frame is not None else ""


def _is_users(file: str) -> bool:
    libraries = (os.path.dirname(__file__), os.path.dirname(os.__file__), "<")
    return not file.startswith(libraries) and "site-packages" not in file


def _missing_module(name: str, error: ModuleNotFoundError, directory: str) -> str:
    missing = error.name or name
    parent, _, last = missing.rpartition(".")
    package = sys.modules.get(parent) if parent else None
    if parent and package is not None and not hasattr(package, "__path__"):
        file = getattr(package, "__file__", None)
        hint = f" Did you mean {parent}:{last}?" if hasattr(package, last) else ""
        return f"there is no module {name!r}: {parent!r} is a module ({file}), not a package.{hint}"
    where = next(iter(package.__path__)) if package is not None else directory
    text = f"there is no module {missing!r} in {where}, nor elsewhere on sys.path."
    near = _closest(last, _listed(where))
    if near:
        return text + _did_you_mean(f"{parent}.{near}" if parent else near)
    if not parent:
        for below in sorted(_directories(directory)):
            if last in _listed(os.path.join(directory, below)):
                return f"{text} It is in {below}{os.sep}: try --app-dir {below}"
    return text


def _attribute(target: Target, module: ModuleType) -> object:
    found: object = module
    name = module.__name__
    for part in target.attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            at = getattr(module, "__file__", None) or module.__name__
            names = [other for other in getattr(found, "__dict__", ()) if not other.startswith("_")]
            near = _closest(part, names)
            apps = [other for other in names if _parameters(getattr(found, other)) == 3]
            start = target.file or target.module
            outer = name.removeprefix(module.__name__).lstrip(".")
            hint = _did_you_mean(f"{start}:{outer}{'.' if outer else ''}{near}" if near else "")
            if not hint and apps:
                hint = f" It has these applications: {', '.join(apps)}."
            raise DiscoveryError(f"{name!r} has no attribute {part!r} ({at}).{hint}") from None
        name = f"{name}.{part}"
    return found


def _called(target: Target, factory: object) -> object:
    if not callable(factory):
        raise DiscoveryError(
            f"{target.text}: {target.attribute} is no function, but {_kind(factory)}. Leave the () out."
        )
    try:
        made: object = factory()
    except (Exception, SystemExit) as error:
        error.__traceback__ = _of_the_user(error.__traceback__)
        raise DiscoveryError(f"the factory {target.text} failed: {_report(error)}") from error
    if hasattr(made, "__await__") and hasattr(made, "close"):
        made.close()
        raise DiscoveryError(
            f"{target.text}: the factory is async. Make it a plain function: what needs a loop goes into lifespan=."
        )
    return made


def _check_is_asgi(target: Target, found: object) -> None:
    if not callable(found):
        raise DiscoveryError(f"{target.text} is no ASGI application, but {_kind(found)}")
    count = _parameters(found)
    if count is None or count == 3:
        return
    if count == 0 and not target.is_factory:
        raise DiscoveryError(
            f"{target.text} is a function without arguments. If it makes the application, write '{target.text}()'"
        )
    if count == 2:
        raise DiscoveryError(
            f"{target.text} takes two arguments, like a WSGI application. Wrap it: a2wsgi.WSGIMiddleware(app)"
        )
    raise DiscoveryError(
        f"{target.text} is no ASGI application: it takes {count} arguments instead of scope, receive and send"
    )


def _parameters(found: object) -> int | None:
    """How many positional arguments a call needs; None where that can't be told, or is open."""
    if isinstance(found, type) or not callable(found):
        return None
    function = found if hasattr(found, "__code__") else type(found).__call__
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & 0x04:  # CO_VARARGS
        return None
    bound = 1 if hasattr(function, "__self__") or function is not found else 0
    most: int = code.co_argcount - bound
    least = most - len(getattr(function, "__defaults__", None) or ())
    return 3 if least <= 3 <= most else least


def _kind(found: object) -> str:
    name = type(found).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _closest(name: str, candidates: list[str]) -> str:
    import difflib  # here, because only a failure needs it

    return next(iter(difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)), "")


def _did_you_mean(name: str) -> str:
    return f" Did you mean {name!r}?" if name else ""


def _listed(directory: str, files: bool = False) -> list[str]:
    """The modules of a directory, by name; or its Python files."""
    try:
        entries = os.listdir(directory)
    except OSError:
        return []
    modules = [entry for entry in entries if entry.endswith(".py") and entry != "__init__.py"]
    if files:
        return modules
    packages = [entry for entry in entries if os.path.isfile(os.path.join(directory, entry, "__init__.py"))]
    return [module.removesuffix(".py") for module in modules] + packages


def _directories(directory: str) -> list[str]:
    return [
        entry for entry in os.listdir(directory) if entry[:1] != "." and os.path.isdir(os.path.join(directory, entry))
    ]
