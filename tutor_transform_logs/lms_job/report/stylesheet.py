"""The stylesheet of the report's page. Text has a contrast of at least 4.5 to 1 with its background (WCAG 2, AA)."""

from __future__ import annotations

STYLE = """
:root {
  --back: #ffffff; --text: #1b1f24; --soft: #57606a; --edge: #d0d7de; --raised: #f6f8fa;
  --part0: #0b6bcb; --part1: #b54708; --part2: #6e7781; --part3: #0f7b6c; --mark: #cf222e; --gap: #ffebe9;
  --good: #116329; --fair: #8a4600; --bad: #b3121d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #12161b; --text: #e6edf3; --soft: #9da7b3; --edge: #30363d; --raised: #1b2129;
    --part0: #58a6ff; --part1: #f0983a; --part2: #9da7b3; --part3: #3fb9a6; --mark: #ff7b72; --gap: #45191c;
    --good: #56d364; --fair: #f0983a; --bad: #ff7b72;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-bottom: .3rem; border-bottom: 1px solid var(--edge); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .5rem 0; max-width: 46rem; }
code { font: .85em/1.45 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
small { display: block; color: var(--soft); font-weight: normal; }
.status { font-size: 1.15rem; font-weight: 600; }
.status::before { content: "\\25CF"; margin-right: .5rem; }
.good { color: var(--good); } .fair { color: var(--fair); } .bad { color: var(--bad); }
section > p { overflow-wrap: anywhere; }
.notes { padding-left: 1.2rem; overflow-wrap: anywhere; }
dl { margin: 0; } dd { margin: 0; overflow-wrap: anywhere; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.numbers div { display: flex; flex-direction: column-reverse; justify-content: flex-end; padding: .75rem 1rem;
  border: 1px solid var(--edge);  border-radius: .5rem; background: var(--raised); }
.numbers dd { font-size: 1.6rem; font-weight: 600; line-height: 1.2; font-variant-numeric: tabular-nums; }
dt { color: var(--soft); }
.facts div { display: grid; grid-template-columns: 6rem 1fr; gap: .5rem; }
.chart { margin: 1rem 0 .5rem; }
.chart svg { display: block; width: 100%; height: 12rem; border-left: 1px solid var(--edge); }
.chart .top, .axis { color: var(--soft); font-size: .85rem; font-variant-numeric: tabular-nums; }
.axis { display: flex; justify-content: space-between; gap: 1rem; }
svg .part0 { fill: var(--part0); } svg .part1 { fill: var(--part1); } svg .part2 { fill: var(--part2); }
svg .mark { fill: var(--mark); }
svg .gap { fill: var(--gap); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; color: var(--soft); font-size: .9rem; }
.key::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .45em; border-radius: 2px;
  background: var(--mark); vertical-align: -.05em; }
.key.part0::before, .bar .part0 { background: var(--part0); }
.key.part1::before, .bar .part1 { background: var(--part1); }
.key.part2::before, .bar .part2 { background: var(--part2); }
.key.part3::before, .bar .part3 { background: var(--part3); }
table { width: 100%; border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: .25rem 0; }
th, td { padding: .35rem .6rem .35rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--edge); }
thead th { color: var(--soft); font-weight: normal; vertical-align: bottom; }
th[scope=row] { font-weight: normal; overflow-wrap: anywhere; }
.whole { overflow-wrap: normal; word-break: keep-all; hyphens: none; }
.number { text-align: right; padding-right: 0; padding-left: .6rem; }
td.number { white-space: nowrap; }
.named { display: flex; flex-wrap: wrap; align-items: center; gap: .1rem .8rem; }
.named > :first-child { flex: 0 1 19rem; }
.bar { display: flex; flex: 1 0 9rem; height: .5rem; }
.bar span { min-width: 1px; }
details { margin: .4rem 0; border: 1px solid var(--edge); border-radius: .5rem; padding: .4rem .8rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
.examples { list-style: none; padding: 0; margin: .5rem 0; }
.examples li { border-top: 1px solid var(--edge); padding: .5rem 0; }
.examples p { margin: 0; color: var(--soft); overflow-wrap: anywhere; }
.examples code { display: block; margin-top: .3rem; }
td.text { overflow-wrap: anywhere; }
.wide td.text { white-space: nowrap; }
.wide { overflow-x: auto; }
@media (max-width: 40rem) {
  body { font-size: 15px; }
  th, td { padding-right: .4rem; }
  .wide th[scope=row] { min-width: 13rem; }
  .wide table { min-width: 38rem; }
  .numbers div { padding: .6rem .75rem; }
  .numbers dd { font-size: 1.25rem; }
  .facts div { grid-template-columns: 5rem 1fr; }
}
@media print {
  :root {
    color-scheme: light;
    --back: #ffffff; --text: #1b1f24; --soft: #57606a; --edge: #d0d7de; --raised: #f6f8fa;
    --part0: #0b6bcb; --part1: #b54708; --part2: #6e7781; --part3: #0f7b6c; --mark: #cf222e; --gap: #ffebe9;
    --good: #116329; --fair: #8a4600; --bad: #b3121d;
  }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  /* Bars and keys are backgrounds, which printers leave out. */
  .bar span, .key::before, .numbers div { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h2, h3, caption { break-after: avoid; }
  tr, .chart, .numbers, .legend, .examples li { break-inside: avoid; }
  thead { display: table-header-group; }
  .chart svg { height: 8rem; }
  .wide { overflow: visible; }
  .wide table { min-width: 0; }
}
"""
