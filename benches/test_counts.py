"""Tests of `counts`: what fails, what is only told, and what cannot be used. `make test` runs them."""

import contextlib
import io
import json
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import counts
from counts import Tools, Unusable

TOOLS = Tools("rustc 1.0.0", "x86_64-unknown-linux-gnu", "valgrind-3.19.0")


def compare(expected, measured, made_with=TOOLS):
    return counts.compare(expected, measured, made_with, TOOLS)


def summary(case, count):
    """A benchmark's line, as gungraun prints it, with the members that are read."""
    function, name = case.split("/")
    total = {"metrics": {"Ir": {"values": {"new": count}}}}
    profile = {"tool": "Callgrind", "data": {"parts": [], "total": total}}
    return json.dumps({"function_name": function, "id": name, "profiles": [profile]}) + "\n"


class Compare(unittest.TestCase):
    def test_a_count_may_grow_by_five_percent_and_not_by_one_more(self):
        self.assertEqual(compare({"a/b": 1000}, {"a/b": 1050}), counts.Verdict(compared=1))
        (failure,) = compare({"a/b": 1000}, {"a/b": 1051}).failures
        self.assertEqual(failure, "a/b: 1000 instructions in the baseline, 1051 now (+5.1%)")

    def test_a_count_that_shrank_is_told_and_does_not_fail(self):
        self.assertEqual(compare({"a/b": 1000}, {"a/b": 950}), counts.Verdict(compared=1))
        verdict = compare({"a/b": 1000}, {"a/b": 949})
        self.assertEqual(verdict.failures, [])
        self.assertIn("a/b: 1000 instructions in the baseline, 949 now (-5.1%)", verdict.notes[0])
        self.assertIn("make bench-baseline", verdict.notes[0])

    def test_a_case_on_one_side_alone_fails(self):
        failures = compare({"a/old": 1, "a/both": 1}, {"a/new": 1, "a/both": 1}).failures
        self.assertEqual(len(failures), 2)
        self.assertIn("a/old is in the baseline, but was not measured", failures)
        self.assertIn("a/new was measured, but is not in the baseline", failures)

    def test_another_compiler_is_named_beside_a_failure(self):
        older = replace(TOOLS, rustc="rustc 0.9.0")
        self.assertEqual(compare({"a/b": 100}, {"a/b": 100}, older), counts.Verdict(compared=1))
        verdict = compare({"a/b": 100}, {"a/b": 200}, older)
        self.assertEqual(len(verdict.failures), 1)
        self.assertIn("rustc 0.9.0", verdict.notes[0])

    def test_counts_of_another_instruction_set_are_not_compared_but_cases_are(self):
        other = replace(TOOLS, target="aarch64-unknown-linux-gnu")
        verdict = compare({"a/b": 100, "a/old": 1}, {"a/b": 200}, other)
        self.assertEqual(verdict.failures, ["a/old is in the baseline, but was not measured"])
        self.assertIn("aarch64", verdict.notes[0])


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.counts = Path(folder.name, "counts.json")
        self.baseline = Path(folder.name, "baseline.toml")

    def test_a_baseline_is_sorted_and_read_back(self):
        measured = {"b/two": 2, "a/z": 26, "a/b": 1}
        text = counts.as_toml(measured, TOOLS)
        self.baseline.write_text(text)
        self.assertEqual(counts.read_baseline(self.baseline), (measured, TOOLS))
        self.assertLess(text.index("b = 1"), text.index("z = 26"))
        self.assertLess(text.index("z = 26"), text.index("two = 2"))

    def test_counts_are_read_from_what_the_benchmarks_print(self):
        self.counts.write_text(summary("a/b", 5) + summary("a/c", 6))
        self.assertEqual(counts.read_counts(self.counts), {"a/b": 5, "a/c": 6})

    def test_what_cannot_be_used_is_refused(self):
        for text in ["", "no JSON\n", "{}\n", "[]\n", summary("a/b", 0), summary("a/b", 5) * 2]:
            with self.subTest(counts=text), self.assertRaises(Unusable):
                self.counts.write_text(text)
                counts.read_counts(self.counts)
        good = counts.as_toml({"a/b": 1}, TOOLS)
        for text in ["", "a =", "instructions = 1", good.replace("= 1", '= "1"'), good.replace("valgrind =", "other =")]:
            with self.subTest(baseline=text), self.assertRaises(Unusable):
                self.baseline.write_text(text)
                counts.read_baseline(self.baseline)
        with self.assertRaises(Unusable):
            counts.read_counts(Path("/nowhere/counts.json"))

    def test_what_is_told_and_the_exit_code(self):
        for failures, code in [([], 0), (["a/b: 1 instructions in the baseline, 2 now"], 1)]:
            told = io.StringIO()
            with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
                self.assertEqual(counts.report(counts.Verdict(failures, compared=1)), code)
            self.assertEqual("make bench-baseline" in told.getvalue(), code == 1)

    def test_it_is_told_where_nothing_was_compared(self):
        elsewhere = counts.compare({"a/b": 1}, {"a/b": 9}, Tools("r", "here", "v"), Tools("r", "there", "v"))
        told = io.StringIO()
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            self.assertEqual(counts.report(elsewhere), 0)
        self.assertIn("nothing was compared", told.getvalue())
        self.assertNotIn("none costs", told.getvalue())

    def test_wrong_usage_and_unusable_input_exit_with_2(self):
        for arguments in [[], ["check"], ["mend", "x"], ["check", str(self.counts), str(self.baseline)]]:
            with self.subTest(arguments), contextlib.redirect_stderr(io.StringIO()):
                self.assertEqual(counts.main(arguments), 2)


if __name__ == "__main__":
    unittest.main()
