"""What ci/third-party found of a program, as a row of a table.

    row.py WORK NAME                judges one program, and keeps its row
    row.py WORK --table NAME...     prints the rows
"""

import json
import re
import sys
from pathlib import Path

TITLES = (
    "program",
    "results, all the same",
    "failed in both",
    "sites",
    "raw, built here",
    "raw, elsewhere",
    "text",
    "runtime",
    "build time",
)


def growth(before, after):
    return f"{(after / before - 1) * 100:+.1f} %"


def failed(line):
    return line.startswith(("FAILED ", "failed ", "not ok ", "[err]", "[exception]", "[ FAIL ]"))


def executable(sections):
    """Bytes of the executable sections that llvm-readelf lists."""
    line = re.compile(r" *\[ *\d+\] \S+ +\S+ +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+) [0-9a-f]+ +[A-Z]*X")
    return sum(int(match[1], 16) for match in map(line.match, sections.splitlines()) if match)


def judge(folder):
    """The row, and what is wrong."""
    read = {variant: lambda what, v=variant: (folder / f"{v}.{what}").read_text() for variant in ("plain", "relpoline")}
    results = {variant: sorted(text("results").splitlines()) for variant, text in read.items()}
    wrong = []
    if not results["plain"]:
        wrong.append("no results")
    if results["plain"] != results["relpoline"]:
        wrong.append("other results")
    audit = json.loads((folder / "audit.json").read_text())
    total = lambda *path: sum(part(entry, path) for entry in audit)
    raw_here = total("built_here", "raw")
    if raw_here:
        wrong.append(f"{raw_here} raw branches")
    sites = total("relpoline_sites", "inline") + total("relpoline_sites", "stub")
    if not sites:
        wrong.append("no sites")
    text = {variant: executable(of("sections")) for variant, of in read.items()}
    language = "rs" if (folder / "plain/Cargo.toml").exists() else "c"
    empty = {
        variant: executable((folder.parent / f"empty/{variant}.{language}.sections").read_text()) for variant in read
    }
    # No site asks the linker for the runtime in a file that has none.
    runtime = (empty["relpoline"] - empty["plain"]) * sum(any(entry["relpoline_sites"].values()) for entry in audit)
    time = {variant: sum(map(float, of("time").split()[-2:])) for variant, of in read.items()}
    failures = sum(map(failed, results["plain"]))
    row = (
        folder.name,
        str(len(results["plain"]) - failures) if not wrong else ", ".join(wrong),
        str(failures),
        str(sites),
        str(raw_here),
        str(total("elsewhere", "raw")),
        f'{text["plain"] // 1024} KiB {growth(text["plain"], text["relpoline"] - runtime)}',
        f"{runtime // 1024} KiB",
        f'{time["plain"]:.1f} s {growth(time["plain"], time["relpoline"])}',
    )
    return row, wrong


def part(entry, path):
    for name in path:
        entry = entry[name]
    return entry


def main(work, first, *names):
    if first != "--table":
        row, wrong = judge(work / first)
        (work / first / "row").write_text("\t".join(row))
        print("; ".join(wrong) or f"{first}: the same results")
        return bool(wrong)
    print("| " + " | ".join(TITLES) + " |\n|" + "---|" * len(TITLES))
    for name in names:
        file = work / name / "row"
        print("| " + " | ".join(file.read_text().split("\t") if file.exists() else (name, "failed")) + " |")
    return False


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
