"""Each benchmark writes its own section of the page, and leaves the others alone."""

from pathlib import Path

from bench.page import put_section, with_section


def test_a_new_section_goes_to_the_end():
    page = with_section(with_section("", "http", "# Side by side\n"), "sql", "# With a database")

    assert page.index("# Side by side") < page.index("# With a database")
    assert page.startswith("<!-- section: http -->\n# Side by side\n<!-- end: http -->\n")


def test_a_section_that_is_there_is_replaced_where_it_stands():
    page = with_section(with_section(with_section("", "a", "one"), "b", "two"), "a", r"three \1 \n")

    assert "one" not in page
    assert page.index(r"three \1 \n") < page.index("two")
    assert page.count("<!-- section: a -->") == 1


def test_what_stands_outside_of_sections_stays():
    assert with_section("By hand.\n", "a", "one").startswith("By hand.\n\n<!-- section: a -->")


def test_a_file_that_is_missing_is_made(tmp_path: Path):
    put_section(tmp_path / "RESULTS.md", "sql", "text")

    assert "text" in (tmp_path / "RESULTS.md").read_text()


def test_the_page_of_the_repository_has_a_section_for_http():
    page = Path(__file__).parents[2].joinpath("bench/RESULTS.md").read_text()

    assert page.startswith("<!-- section: http -->\n# Side by side\n")
