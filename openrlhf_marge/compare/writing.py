"""Results -> the files of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from openrlhf_marge.compare.curves import learning_curves
from openrlhf_marge.compare.notes import notes
from openrlhf_marge.compare.results import Results, difference_table, mark_rows, score_rows, score_table
from openrlhf_marge.compare.tables import Table, latex, markdown
from openrlhf_marge.compare.used import used_table
from openrlhf_marge.compare.words import sentences
from openrlhf_marge.data.files import write_csv, writing
from openrlhf_marge.figures import save


def write_results(results: Results, at_marks: Sequence[Results], out: Path, said: Sequence[str] = ()) -> str:
    """All files; returns the Markdown, and what was written. ``said`` comes under the tables first."""
    blocks = [*_blocks((*at_marks, results)), [*said, *notes(results)]]
    text = "\n".join(markdown(block) if isinstance(block, Table) else _listed(block) for block in blocks)
    tables = [block for block in blocks if isinstance(block, Table)]
    for name, content in (("table.md", text), ("table.tex", "\n".join(map(latex, tables)))):
        with writing(out / name) as file:
            file.write(content)
    write_csv(out / "results.csv", *score_rows(results))
    written = ["table.md", "table.tex", "results.csv"]
    if at_marks:
        write_csv(out / "marks.csv", *mark_rows(at_marks))
        written.append("marks.csv")
    if results.used:
        written += ["curves.csv", "curves.png"]
        curves = learning_curves(results.used)
        write_csv(out / "curves.csv", curves.table.header, curves.table.rows)
        save(curves, out / "curves.png")
    return f"\n{text}\n{out}: {', '.join(written)}"


def _blocks(found: Sequence[Results]) -> Iterator[Table | list[str]]:
    """The tables of the marks and of the end, each with its sentences, and what was used."""
    for results in found:
        yield score_table(results)
        if (table := difference_table(results)).rows:
            yield table
            yield sentences(results)
    if found[-1].used:
        yield used_table(found[-1].used)


def _listed(sentences: Sequence[str]) -> str:
    return "".join(f"- {sentence}\n" for sentence in sentences)
