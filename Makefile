# make serve    the example blog on http://127.0.0.1:8000 until Ctrl-C   (PORT=9000 for another port)
# make test     the whole test suite                                    (PYTHON=python3.13 for another interpreter)
# make conformance   the suite of all brokers, and the soaks, against real ones   (BROKERS=local,nsq for some)
# make lint     ruff, mypy, pyright, import-linter
# make bench    fastlane beside other servers, measured in one run      (ARGS=--quick for a short one)
# make bench-sql, make bench-pubsub            the same with a database, and of each broker beside its bare client
# make docs     the documentation into .build/docs
# make clean    removes what the others built
#
# Each builds the environment that it needs (.ci/environment) and says which package is missing when it can't.

PORT ?= 8000
PYTHON ?=
ARGS ?=
BROKERS ?= all
.PHONY: serve test conformance lint bench docs clean
export PYTHON

serve:
	@environment=$$(.ci/environment serve) && cd examples/blog && \
	exec "../../$$environment/bin/fastlane" serve blog:app --embedded --workers auto --host 127.0.0.1 --port $(PORT)

test:
	@environment=$$(.ci/environment test) && exec "$$environment/bin/python" -m pytest $(ARGS)

# Starts the brokers itself: nsqd (built by Go), moto (from PyPI), Google's emulator (its Debian package and Java), PostgreSQL.
conformance:
	@environment=$$(.ci/environment test) && \
	FASTLANE_BROKERS=$(BROKERS) exec "$$environment/bin/python" -m pytest tests/conformance tests/examples $(ARGS)

# As `make test`, and fails below the coverage that pyproject.toml asks for. Processes that were killed while they wrote
# leave files that can't be combined, and `report` would begin anew with them.
.PHONY: coverage
coverage:
	@environment=$$(.ci/environment test) && \
	"$$environment/bin/coverage" erase && \
	"$$environment/bin/coverage" run -m pytest $(ARGS) && \
	"$$environment/bin/coverage" combine --quiet && rm -f .coverage.* && \
	"$$environment/bin/coverage" report --skip-covered --show-missing

lint:
	@environment=$$(.ci/environment lint) && PATH="$$PWD/$$environment/bin:$$PATH" && \
	ruff check . && \
	ruff format --check . && \
	mypy && \
	pyright --pythonpath "$$environment/bin/python" && \
	lint-imports

bench:
	@environment=$$(.ci/environment serve) && exec "$$environment/bin/python" -m bench.run $(ARGS)

bench-sql bench-pubsub:
	@environment=$$(.ci/environment test) && exec "$$environment/bin/python" -m bench.$(@:bench-%=%) $(ARGS)

# The table of guarantees is read from every broker's provider: their libraries come with the test environment.
docs:
	@.ci/environment test >/dev/null && environment=$$(.ci/environment docs) && "$$environment/bin/python" docs/tables.py && \
	NO_MKDOCS_2_WARNING=1 exec "$$environment/bin/mkdocs" build --strict --quiet --site-dir .build/docs

clean:
	rm -rf .venv .venv-3.* .build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov
