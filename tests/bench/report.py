# SPDX-License-Identifier: Apache-2.0
"""What a benchmark says: lines for people as they come, the targets once more at the end, and all of it as JSON."""

import json
import statistics

MIB = 1 << 20
GIB = 1 << 30


def median(values):
    return statistics.median(values)


class Report:
    """Numbers are kept by section: `number()` for what only informs, `target()` for what has a bound to reach."""

    def __init__(self):
        self.conditions, self.numbers, self.targets, self.unmeasured = {}, [], [], []
        self.section, self.lacks_program = "", False

    def begin(self, section, title):
        self.section = section
        self.line(f"\n== {section}: {title}", indent=0)

    @staticmethod
    def line(text, indent=8):
        print(" " * indent + text, flush=True)

    def number(self, name, value, unit="", **more):
        """Kept for the JSON only: lines for people are said by whoever knows how they read best."""
        self.numbers.append({"section": self.section, "name": name, "value": value, "unit": unit, **more})

    def target(self, name, value, bound, reached, unit="", digits=2, **more):
        """A number with what it is to reach, as text ("at least 90 %"), and whether it does."""
        self.targets.append({"section": self.section, "name": name, "value": round(value, 4), "unit": unit,
                             "bound": bound, "reached": bool(reached), **more})
        self.line(f"reached {'yes' if reached else 'NO '}  {name}: {value:.{digits}f} {unit}".rstrip() +
                  f" (to reach: {bound})", indent=0)

    def cannot(self, name, why):
        """Something that is not measured here, and why."""
        self.unmeasured.append({"section": self.section, "name": name, "why": why})
        self.line(f"not measured: {name}: {why}")

    def cannot_without(self, name, program):
        """Something that is not measured because the machine lacks a program, which the run is no success without."""
        self.lacks_program = True
        self.cannot(name, f"{program} is not installed (tests/bench/packages)")

    def summary(self):
        """The targets of all sections as the table that docs/BENCHMARKS.md keeps, and how many were reached."""
        self.line("\n| section | what | to reach | measured | reached |\n| --- | --- | --- | ---: | --- |", indent=0)
        for one in self.targets:
            value = f"{one['value']:.0f}" if abs(one["value"]) >= 100 else f"{one['value']:.3g}"
            self.line(f"| {one['section']} | {one['name']} | {one['bound']} | {value} {one['unit']}".rstrip() +
                      f" | {'yes' if one['reached'] else 'NO'} |", indent=0)
        for one in self.unmeasured:
            self.line(f"| {one['section']} | {one['name']} | - | not measured: {one['why']} | - |", indent=0)
        self.line(f"\n{sum(one['reached'] for one in self.targets)} of {len(self.targets)} reached", indent=0)

    def write(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"conditions": self.conditions, "targets": self.targets, "numbers": self.numbers,
                       "not_measured": self.unmeasured}, f, indent=1)
            f.write("\n")
