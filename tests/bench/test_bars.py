"""The bars are ratios of medians."""

from bench.bars import BARS, judge, judge_figures

CPU = {
    "floor": {"hello": 4.0, "schema": 4.0, "browser": 4.0},
    "fastlane": {"hello": 6.0, "schema": 8.0, "browser": 8.0},
    "fastify": {"hello": 13.0, "schema": 19.0},
    "bun": {"hello": 5.0, "schema": 10.0},
    "fastapi": {"hello": 60.0, "schema": 100.0},
}


def verdicts(cpu: dict[str, dict[str, float]]) -> dict[str, str]:
    return {bar.text: bar.verdict for bar in judge(cpu)}


def test_each_bar_says_pass_or_fail():
    found = verdicts(CPU)

    assert found["hello: fastlane / floor ≤ 1.65"] == "pass"
    assert found["browser: fastlane / floor ≤ 1.9"] == "FAIL"
    assert found["schema: fastapi / fastlane ≥ 13"] == "FAIL"
    assert found["hello: fastapi / fastlane ≥ 9"] == "pass"


def test_an_aim_is_never_a_failure():
    assert verdicts(CPU)["schema: fastlane / bun ≤ 0.7"] == "not yet"


def test_a_bar_without_one_of_its_peers_is_not_measured():
    found = verdicts({"fastlane": {"hello": 6.0}})

    assert set(found.values()) == {"not measured"}


def test_the_other_figures_are_at_most_their_limit():
    found = dict(zip(BARS, judge_figures({"share_150": 0.6, "extra_worker": 10.5}), strict=True))

    verdicts = {bar.key: judged.verdict for bar, judged in found.items()}
    assert verdicts["share_150"] == "pass"
    assert verdicts["extra_worker"] == "FAIL"
    assert verdicts["import"] == "not measured"
