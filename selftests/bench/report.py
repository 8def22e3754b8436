#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Makes report.md, report.json and the plots of a run of the benchmark.

    report.py DIR              of the lines in DIR/results.tsv, see bench.h; exit status 1
                               if programs that do not use mshare pay more than 0.5 %,
                               programs that open the same file do not share enough, or
                               processes need more than threads do
    report.py --compare A B    do counts and instructions agree within 1 %?
    report.py --readme DIR     puts its summary, and the first plot, into README.md
"""
import collections
import json
import shutil
import subprocess
import sys

WAYS = ["mshare", "mmap", "hugetlb", "mshare-huge", "threads", "io_uring", "read", "private",
        "unpatched", "off", "on"]
COLOURS = {"mshare": "#c1121f", "mmap": "#1d3557", "hugetlb": "#6a994e", "mshare-huge": "#e56b6f",
           "threads": "#999999",
           "io_uring": "#e09f3e", "read": "#8d6e63", "private": "#7b2cbf", "off": "#1d3557", "on": "#c1121f"}
# More than this is a loss, and two runs may differ by this much.  Times differ more.
TOLERANCE = 0.01
SMALL = 0.05
SAME_PAGES = "hugetlb, with huge pages in the region"
# Programs that do not use it may pay this much.
LIMIT = 0.005
# Programs that open the same file (row 8): page tables relative to those of one of them.
SHARED_TABLES = 1.02
# Instructions relative to those of threads, by row and the end of what is measured.  Few
# bytes and processes say nothing.
LIKE_THREADS = {(2, "memory: reading"): 1.02, (8, "reading"): 1.05, (8, "writing"): 1.05}
LIKE_THREADS_FROM = (1 << 30, 64)

TITLES = {
    1: "Page tables of N processes that have read all of an object",
    2: "Page faults and instructions until N processes have read all of it",
    3: "Steps in the life of a process with such memory",
    4: "Making memory read-only for N processes",
    5: "Taking away pages that N processes have",
    6: "N processes scan a file",
    7: "The cost for programs that do not use it",
    8: "N unrelated programs open one file and use all of it",
}
PROGRAMS = {1: "tables", 2: "readers", 3: "lives", 4: "protect", 5: "rmap", 6: "scan", 7: "calls",
            8: "openers"}
NOTES = {
    1: "Bytes that PageTables in /proc/meminfo grows by.",
    2: "`memory`: the first reader makes the pages; `file`: it is in memory. io_uring reads it "
       "into 1 MiB of registered private buffers.",
    3: "One process. Threads: creating one stands for fork, and its end for exit. "
       "`private` is memory whose page tables fork copies.",
    4: "One call for mshare and for threads; a message to each process, its mprotect(2) and its "
       "answer for the others. Huge pages: from 2 MiB on.",
    5: "Instructions a page. Two nodes for migrate, ext4 for reclaim.",
    6: "A file on ext4. If it does not fit, memory.max is half its size; page cache and page "
       "tables fill that, so memory has no figure. Instructions are the processor time of "
       "all readers, per MiB read. io_uring reads a file that does not fit with O_DIRECT. "
       "`time` is that of mmap divided by the way's, alternating in one guest: above 1 is "
       "faster.",
    7: "`unpatched` is the kernel as packaged, `off` ours without CONFIG_MSHARE, `on` with it.",
    8: "Each is a program of its own that opens a file on tmpfs, which is in memory, and reads or "
       "writes a word of every page; with mshare it calls mshare_open(2). Counted from open(2) "
       "on. Threads: the first of them opens and maps it. hugetlb: a file on hugetlbfs. read "
       "and io_uring read it into 1 MiB of private buffers.",
}

Key = collections.namedtuple("Key", "row what bytes n unit")


def fail(message):
    print("report.py: " + message, file=sys.stderr)
    sys.exit(2)


def load(path):
    """{Key: {way: value}} in the order of the file."""
    table = {}
    with open(path, encoding="ascii") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row, what, way, size, n, value, unit = line.rstrip("\n").split("\t")
                key = Key(int(row), what, int(size), int(n), unit)
                table.setdefault(key, {})[way] = float(value)
            except ValueError:
                fail(f"{path}:{number}: not a line of the benchmark: {line!r}")
    if not table:
        fail(f"{path} has no figures")
    return table


def compare(path_a, path_b):
    a, b = load(path_a), load(path_b)
    flat = [{(k, w): v for k, ways in t.items() for w, v in ways.items()} for t in (a, b)]
    bad, seen = [], 0
    for key in flat[0].keys() | flat[1].keys():
        if key[0].unit == "time":
            continue
        seen += 1
        x, y = flat[0].get(key), flat[1].get(key)
        if x is None or y is None:
            bad.append((float("inf"), key, x, y))
        elif abs(x - y) > TOLERANCE * max(abs(x), abs(y)):
            bad.append((abs(x - y) / max(abs(x), abs(y)), key, x, y))
    for off, (key, way), x, y in sorted(bad, key=lambda item: -item[0]):
        print(f"differs: row {key.row}, {key.what}, {way}, {size_of(key.bytes)}, N = {key.n}: "
              f"{x} and {y} {key.unit} ({off:.1%})")
    print(f"two runs: {seen - len(bad)} of {seen} counts and instructions agree within "
          f"{TOLERANCE:.0%}")
    return 1 if bad else 0


def size_of(number):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            return f"{number:.4g} {unit}"
        number /= 1024


def short(value):
    if value is None:
        return ""
    if abs(value) < 1000:
        return f"{value:.3g}"
    for unit in ("", " k", " M", " G", " T"):
        if abs(value) < 1000 or unit == " T":
            return f"{value:.3g}{unit}"
        value /= 1000


def figure(key, value):
    """A figure as people read it, with a unit if it is in bytes."""
    if value is None:
        return ""
    if is_bytes(key):
        return size_of(value)
    return short(value)


def is_bytes(key):
    return key.row == 1 or key.what.endswith(("memory used", "page tables"))


def losses(table):
    """{whom: [what]}, where mshare needs more: the worst first."""
    groups = {}
    for key, ways in table.items():
        for ours, way, label in [("mshare", w, w) for w in WAYS if not w.startswith("mshare")] + [
                ("mshare-huge", "hugetlb", SAME_PAGES)]:
            if ours not in ways or way not in ways:
                continue
            x, y = ways[ours], ways[way]
            if key.unit == "time":
                x, y = y, x
            # A few faults or bytes where the other has none are a loss, too.
            ratio = x / y if y else (float("inf") if x else 1)
            groups.setdefault((label, key.row, key.what, key.unit), []).append((ratio, key))
    found = {}
    for (way, row, what, unit), members in groups.items():
        bad = [m for m in members if m[0] > 1 + (SMALL if unit == "time" else TOLERANCE)]
        if not bad:
            continue
        worst, key = max(bad, key=lambda m: m[0])
        where = []
        if len({m[1].bytes for m in members}) > 1:
            where.append(size_of(key.bytes))
        if len({m[1].n for m in members}) > 1:
            where.append(f"N = {key.n}")
        always = "" if len(bad) == len(members) else f", in {len(bad)} of {len(members)} figures"
        times = "where the other needs none" if worst == float("inf") else f"{worst:.3g} times"
        found.setdefault(way, []).append(
            (worst, f"{what} (row {row}, {unit}): {times}"
             f"{' at ' + ', '.join(where) if where else ''}{always}"))
    out = {}
    for way, items in found.items():
        items.sort(reverse=True)
        out[way] = [text for ratio, text in items if ratio > 1 + SMALL]
        small = [text for ratio, text in items if ratio <= 1 + SMALL]
        if small:
            names = ", ".join(text.split(")")[0] + ")" for text in small)
            out[way].append(f"at most {SMALL:.0%} more for {names}")
    return out


def overheads(table):
    """[(what, way, ratio - 1)] of the kernels with our patches."""
    return [(key.what, way, ways[way] / ways["unpatched"] - 1)
            for key, ways in table.items() if key.row == 7 and "unpatched" in ways
            for way in ("off", "on") if way in ways]


def unlike_threads(table):
    """[text]: where processes need more than they should, compared with threads."""
    return [f"{key.what} (row {key.row}), {size_of(key.bytes)}, N = {key.n}: "
            f"{ways['mshare'] / ways['threads']:.3f} times those of threads"
            for key, ways in table.items() for (row, what), most in LIKE_THREADS.items()
            if key.row == row and key.what.endswith(what) and "mshare" in ways
            and (key.bytes, key.n) >= LIKE_THREADS_FROM and ways["mshare"] > most * ways["threads"]]


def not_shared(table):
    """[text]: where programs that open the same file have more than they should."""
    found = []
    for key, ways in table.items():
        if key.row != 8 or "mshare" not in ways:
            continue
        value, one = ways["mshare"], table[key._replace(n=1)]["mshare"]
        where = f"{key.what}, {size_of(key.bytes)}, N = {key.n}"
        if key.what.endswith("page tables"):
            if value > SHARED_TABLES * one:
                found.append(f"{where}: {value / one:.3f} times those of one")
        elif key.what.endswith("faults"):
            if value - one > key.n:
                found.append(f"{where}: {value - one:.0f} of the others")
    return found


def summary(table):
    """The largest size and N of each thing that is measured."""
    last = {}
    for key in table:
        if key.row != 7:
            old = last.get((key.row, key.what, key.unit))
            if old is None or (key.bytes, key.n) >= (old.bytes, old.n):
                last[key.row, key.what, key.unit] = key
    return list(last.values())


def short_table(table):
    used = [w for w in WAYS if w not in ("unpatched", "off", "on")
            and any(w in ways for ways in table.values())]
    text = ["| row | what | unit | size | N | " + " | ".join(used) + " | mmap / mshare |",
            "|---|---|---|---|---|" + "---|" * (len(used) + 1)]
    for key in summary(table):
        ways = table[key]
        ratio = ""
        if ways.get("mshare") and "mmap" in ways:
            ratio = short(ways["mshare"] / ways["mmap"] if key.unit == "time"
                          else ways["mmap"] / ways["mshare"])
        text.append(f"| {key.row} | {key.what} | {key.unit} | {size_of(key.bytes)} | {key.n} | "
                    + " | ".join(figure(key, ways.get(w)) for w in used) + f" | {ratio} |")
    return text


def overhead_text(over):
    too_much = [f"{what} {ratio:+.2%} ({way})" for what, way, ratio in over if ratio > LIMIT]
    worst = max(over, key=lambda item: item[2])
    return "**Programs that do not use it** pay " + (
        f"more than {LIMIT:.1%} for " + "; ".join(too_much) if too_much else
        f"at most {worst[2]:+.2%} ({worst[0]}, {worst[1]})") + "."


def readme(table, lost, over):
    """Writes between two comments in README.md."""
    begin, end = "<!-- make bench writes this -->\n", "<!-- up to here -->\n"
    with open("README.md", encoding="utf-8") as file:
        text = file.read()
    if begin not in text or end not in text:
        fail(f"README.md has no {begin.strip()} or no {end.strip()}")
    block = "\n".join(short_table(table)) + "\n\nWhere it needs more than mmap(2): " + (
        "; ".join(lost["mmap"]) if "mmap" in lost else "nowhere") + "."
    if over:
        block += " " + overhead_text(over)
    head, tail = text.split(begin)[0], text.split(end)[1]
    with open("README.md", "w", encoding="utf-8") as file:
        file.write(head + begin + "\n" + block + "\n\n" + end + tail)


def markdown(table, lost, over, apart, slow):
    names = {"threads": "threads of one process, the limit"}
    where = [f"**Against {names.get(way, way)}**: " + "; ".join(lost[way]) + "."
             for way in WAYS + [SAME_PAGES] if way in lost]
    text = ["# What mshare costs and saves", "",
            "Where mshare loses (needs more, at worst by the factor given; up to 1 %, or 5 % "
            "of times, is not counted). "
            + (" ".join(where) if where else "Nowhere.")]
    if over:
        text.append(overhead_text(over))
    if apart:
        text.append("**Programs that open the same file** have too much: " + "; ".join(apart)
                    + ".")
    if slow:
        text.append("**Processes** need too much: " + "; ".join(slow) + ".")
    text += ["", "*count*: exact, of the kernel. *instructions*: of the whole emulated machine, "
             "one processor. *time*: a ratio. `mshare-huge`: huge pages in a region. Each row is "
             "`build/selftests/bench/PROGRAM` in a guest; all figures are in report.json.", "",
             "## At the largest size and number of processes", ""]
    text += short_table(table)
    for row, title in TITLES.items():
        keys = [key for key in table if key.row == row]
        if not keys:
            continue
        text += ["", f"## ({row}) {title}", "", f"`{PROGRAMS[row]}`. {NOTES[row]}", "",
                 f"![{title}](row{row}.svg)", ""]
        columns = [w for w in WAYS if any(w in table[key] for key in keys)]
        head = ["what", "unit"] + (["size", "N"] if row != 7 else []) + columns
        if row == 7:
            head += ["off", "on"]
        text += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for key in keys:
            cells = [key.what, key.unit]
            if row != 7:
                cells += [size_of(key.bytes), str(key.n)]
            cells += [figure(key, table[key].get(w)) for w in columns]
            if row == 7:
                base = table[key].get("unpatched")
                cells += [f"{table[key][w] / base - 1:+.2%}" if base and w in table[key] else ""
                          for w in ("off", "on")]
            text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


def gnuplot(path, title, body):
    script = (f"set terminal svg size 860,420 font 'sans,13' background '#ffffff'\n"
              f"set output '{path}'\nset title \"{title}\" noenhanced\n"
              "set grid back lc rgb '#dddddd'\nset border 3\nset tics nomirror\n"
              "set key outside right center samplen 2 noenhanced\n" + body)
    done = subprocess.run(["gnuplot"], input=script, text=True, capture_output=True, check=False)
    if done.returncode or done.stderr:
        fail("gnuplot: " + done.stderr.strip())


def block(name, lines):
    return f"${name} << EOD\n" + "\n".join(lines) + "\nEOD\n"


def lines_plot(path, title, ylabel, series, in_bytes):
    """series: [(label, way, dash, [(n, value)])]"""
    body, plots = "", []
    # Where two lines coincide, the one that is drawn last is seen.
    for i, (label, way, dash, points) in enumerate(series):
        # Zero has no logarithm.
        points = [(n, v) for n, v in points if v > 0]
        if not points:
            continue
        body += block(f"d{i}", [f"{n} {v}" for n, v in points])
        plots.append(f"$d{i} with linespoints lw {6 if way == 'threads' else 2} "
                     f"pt {7 if dash == 1 else 6} ps 0.6 dt {dash} "
                     f"lc rgb '{COLOURS[way]}' title \"{label}\"")
    numbers = sorted({n for s in series for n, _ in s[3]})
    body += (f"set logscale xy\nset xlabel 'processes (N)'\nset ylabel \"{ylabel}\"\n"
             "set xtics (" + ", ".join(f"'{n}' {n}" for n in numbers) + ")\nunset mytics\n"
             # gnuplot's own prefix is ki.
             + ("set logscale y 16\nset ytics ("
                + ", ".join(f"'{size_of(16**i)}' {16**i}" for i in range(3, 10)) + ")\n" if in_bytes
                else "set format y '%.0s %c'\n")
             + f"set xrange [{min(numbers)}:{max(numbers) * 1.05}]\nplot "
             + ", ".join(reversed(plots)) + "\n")
    gnuplot(path, title, body)


def bars_plot(path, title, ylabel, groups, ways, log=True):
    """groups: [(label, {way: value})]"""
    body = block("d", ["\"{}\" {}".format(label, " ".join(
        str(values.get(w, "nan")) for w in ways)) for label, values in groups])
    body += ("set style data histogram\nset style histogram clustered gap 1\n"
             "set style fill solid 0.9 noborder\nset xtics noenhanced rotate by -20\n"
             f"set ylabel \"{ylabel}\" noenhanced\n")
    if log:
        body += "set logscale y\nset format y '%.0s %c'\n"
    else:
        body += (f"set format y '{'%.2f' if '%' in ylabel else '%.1s %c'}'\n"
                 "set xzeroaxis lt -1\nset yrange [*<0:0<*]\n")
    body += "plot " + ", ".join(
        f"$d using {i + 2}{':xtic(1)' if i == 0 else ''} lc rgb '{COLOURS[w]}' title \"{w}\""
        for i, w in enumerate(ways)) + "\n"
    gnuplot(path, title, body)


def series_of(table, row, whats, unit):
    """The curves over N at the largest size, one for each way and WHAT."""
    keys = [k for k in table if k.row == row and k.what in whats and k.unit == unit]
    if not keys:
        return None, []
    size = max(k.bytes for k in keys)
    out = []
    for number, what in enumerate(whats):
        for way in WAYS:
            points = [(k.n, table[k][way]) for k in keys
                      if k.what == what and k.bytes == size and way in table[k]]
            if points:
                label = way if len(whats) == 1 else f"{what}: {way}"
                out.append((label, way, number + 1, sorted(points)))
    return size, out


def plots(table, directory):
    curves = [(1, ["page tables"], "count", "bytes of page tables"),
              (2, ["memory: reading", "file: reading"], "instructions", "instructions"),
              (4, ["protect"], "instructions", "instructions"),
              (5, ["truncate", "migrate", "reclaim"], "instructions", "instructions a page"),
              (8, ["readers: reading", "writers: writing"], "instructions", "instructions")]
    for row, whats, unit, label in curves:
        size, series = series_of(table, row, whats, unit)
        if series:
            lines_plot(f"{directory}/row{row}.svg", f"({row}) {TITLES[row]}, {size_of(size)}",
                       f"{label} ({unit})" if unit == "count" else label, series, row == 1)
    for row, unit in ((3, "instructions"), (6, "instructions")):
        keys = [k for k in summary(table) if k.row == row and k.unit == unit]
        ways = [w for w in WAYS if any(w in table[k] for k in keys)]
        if keys:
            bars_plot(f"{directory}/row{row}.svg", f"({row}) {TITLES[row]}",
                      "instructions" + (" a MiB" if row == 6 else ""),
                      [(f"{k.what}, N = {k.n}" if row == 6 else k.what, table[k]) for k in keys],
                      ways, log=row == 3)
    over = overheads(table)
    if over:
        whats = list(dict.fromkeys(what for what, _, _ in over))
        bars_plot(f"{directory}/row7.svg", f"(7) {TITLES[7]}",
                  "instructions, % of the unpatched kernel",
                  [(what, {way: ratio * 100 for w, way, ratio in over if w == what})
                   for what in whats],
                  [w for w in ("off", "on") if any(way == w for _, way, _ in over)], log=False)


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--compare":
        return compare(sys.argv[2], sys.argv[3])
    if len(sys.argv) == 3 and sys.argv[1] == "--readme":
        table = load(f"{sys.argv[2]}/results.tsv")
        readme(table, losses(table), overheads(table))
        shutil.copy(f"{sys.argv[2]}/row1.svg", "selftests/bench/page-tables.svg")
        return 0
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    directory = sys.argv[1]
    table = load(f"{directory}/results.tsv")
    lost, over = losses(table), overheads(table)
    apart, slow = not_shared(table), unlike_threads(table)
    with open(f"{directory}/report.json", "w", encoding="ascii") as out:
        json.dump({"losses": lost,
                   "overheads": [{"what": a, "kernel": b, "ratio": c} for a, b, c in over],
                   "figures": [dict(key._asdict(), way=way, value=value)
                               for key, ways in table.items() for way, value in ways.items()]},
                  out, indent=1)
    with open(f"{directory}/report.md", "w", encoding="ascii") as out:
        out.write(markdown(table, lost, over, apart, slow))
    plots(table, directory)
    return 1 if apart or slow or any(ratio > LIMIT for _, _, ratio in over) else 0


if __name__ == "__main__":
    sys.exit(main())
