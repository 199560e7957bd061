"""Tables as Markdown, and comparisons of two results."""

from statistics import median

from .measure import OURS, quantile

# Pawprint lost speed where it is this much slower, relative to peers.
LOSS = 0.05


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def advantage(table, label):
    """How many times better Pawprint's median is than that of a contestant."""
    ours, other = (quantile(table["rows"][it], 0.5) for it in (OURS, label))
    return ours / other if table["better"] == "more" else other / ours


def peers(table):
    """Contestants that are not Pawprint in some configuration, the best first."""
    labels = [label for label, values in table["rows"].items() if values and not label.startswith(OURS)]
    return sorted(labels, key=lambda label: advantage(table, label))


def print_table(table):
    print(f"\n### {table['title']}\n")
    if "lines" in table:
        print_lines(table)
    else:
        print(f"| | {table['unit']}, median (quartiles) | Pawprint is |\n|---|---:|---:|")
        for label, values in table["rows"].items():
            low, middle, high = (number(quantile(values, share)) for share in (0.25, 0.5, 0.75))
            ratio = "" if label == OURS else f"{advantage(table, label):.2f}×"
            print(f"| {label} | {middle} ({low}–{high}) | {ratio} |")
    for label, reason in table["left_out"].items():
        print(f"\nLeft out: {label}: {' '.join(reason.split())[-300:]}")
    for note in table["notes"]:
        print(f"\n{note}")


def print_lines(table):
    head, *lines = table["lines"]
    print(f"| {' | '.join(head)} |\n|---|{'---:|' * (len(head) - 1)}")
    for line in lines:
        print(f"| {' | '.join(line)} |")


def print_summary(tables):
    """A row for each table: each peer in its best configuration."""
    tables = [table for table in tables if "rows" in table and peers(table)]
    if not tables:
        return
    print("\n### Summary\n\n| | unit | Pawprint | to the best peer | peers, the best first |\n|---|---|---:|---:|---|")
    for table in tables:
        labels = peers(table)
        best = {}
        for label in labels:
            best.setdefault(label.split(",")[0], number(quantile(table["rows"][label], 0.5)))
        ours = number(quantile(table["rows"][OURS], 0.5))
        others = "; ".join(f"{name} {value}" for name, value in best.items())
        print(f"| {table['title']} | {table['unit']} | {ours} | {advantage(table, labels[0]):.2f}× | {others} |")


def compare(before, after):
    """Prints how Pawprint's advantage over the peers that both results have changed, table by table: the
    machines may differ. Returns an exit status: 1 if it lost speed anywhere."""
    known = {table["title"]: table for table in before["tables"] if "rows" in table}
    lost = compared = 0
    for key in sorted(before["machine"].keys() | after["machine"].keys()):
        values = [result["machine"].get(key, "unknown") for result in (before, after)]
        if values[0] != values[1] and key != "date":
            print(f"- {key}: {values[0]}; now {values[1]}")
    for title in known.keys() ^ {table["title"] for table in after["tables"] if "rows" in table}:
        print(f"- only in one of them: {title}")
    print("\n| | change relative to peers | |\n|---|---:|---|")
    for table in after["tables"]:
        old = known.get(table["title"])
        if old is None or "rows" not in table:
            continue
        common = set(peers(table)) & set(peers(old))
        if not common:
            continue
        compared += 1
        change = median(advantage(table, peer) / advantage(old, peer) for peer in common)
        slower = change <= 1 - LOSS
        lost += slower
        print(f"| {table['title']} | {change:.2f}× | {'**slower**' if slower else ''} |")
    print(f"\nPawprint lost {LOSS:.0%} or more in {lost} of {compared} comparisons.")
    if not compared:
        print("The results have no table and peer in common.")
    return 1 if lost or not compared else 0
