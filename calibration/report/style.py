"""How the page looks: readable on a phone and on paper, in the light and in the dark."""

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --soft: #5a6675; --rule: #d5dbe3;
  --panel: #f5f7fa; --red: #c4302b; --green: #18794e; --teal: #0b7a8a; --blue: #2459c9;
  --violet: #8440b8; --warn: #8a5300; --warnback: #fff6e3; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181e; --ink: #e5e9ef; --soft: #9aa6b5;
  --rule: #333c48; --panel: #1c222a; --red: #ff7b72; --green: #56d38d; --teal: #4fc3d9;
  --blue: #7fa8ff; --violet: #c792ea; --warn: #ffc46b; --warnback: #2c2415; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.2rem 1rem 3rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-top: .8rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
p { max-width: 46rem; margin: .5rem 0; }
.lead, figcaption, .note { color: var(--soft); }
figcaption, .note, table { font-size: .9rem; }
.warnings { background: var(--warnback); border-left: 4px solid var(--warn);
  padding: .6rem 1rem; margin: 1rem 0; }
.warnings h2 { border: 0; margin: 0; padding: 0; font-size: 1rem; color: var(--warn); }
.warnings ul { margin: .3rem 0; padding-left: 1.1rem; }
.row { display: grid; gap: 1.4rem; margin: 1rem 0; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }
figure { margin: 0; break-inside: avoid; }
figcaption { margin-top: .4rem; max-width: 30rem; }
img { display: block; width: 100%; max-width: 34rem; height: auto; image-rendering: pixelated; }
.square { max-width: 20rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1rem .25rem 0;
  border-bottom: 1px solid var(--rule); overflow-wrap: anywhere; }
thead th { border-bottom-width: 2px; }
tbody th { font-weight: 500; color: var(--soft); min-width: 7rem; }
.numbers td, .numbers thead th { text-align: right; white-space: nowrap; }
.numbers th:first-child, .numbers thead th:first-child { text-align: left; }
.plot { width: 100%; height: auto; max-width: 34rem; display: block; }
.plot text { fill: var(--soft); font: 12px system-ui, sans-serif; }
.plot .label { font-size: 13px; fill: var(--ink); }
.plot .power { font-size: 9px; }
.plot path { fill: none; }
.plot .frame { stroke: var(--soft); }
.plot .grid { stroke: var(--rule); stroke-width: .6; }
.plot .line { stroke-width: 1.6; stroke-linejoin: round; }
.plot .dashed { stroke-dasharray: 5 3; }
.plot .dots { stroke-width: 4; stroke-linecap: round; }
.tone-ink { stroke: var(--ink); } .tone-red { stroke: var(--red); }
.tone-green { stroke: var(--green); } .tone-teal { stroke: var(--teal); }
.tone-blue { stroke: var(--blue); } .tone-violet { stroke: var(--violet); }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } h2 { break-after: avoid; } }
"""
