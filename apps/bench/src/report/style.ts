/** The page's style sheet: colours for light and dark, safe for the colour-blind, and for print. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #fbfbf9; --card: #ffffff; --ink: #1c2127; --soft: #5c6670; --line: #dfe3e6;
  --enlightened: #0b6e99; --emulated: #c2571a; --good: #1a7f4b; --run: #1c2127;
  --part0: #c2571a; --part1: #e2a13b; --part2: #0b6e99; --part3: #7a8790; --part4: #a9b4bc; --part5: #58b0d3;
  --part6: #6b4fa0; --part7: #2f8f6b; --part8: #8c3b52;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181c; --card: #1b2127; --ink: #e6e9ec; --soft: #9aa5ae; --line: #333c45;
    --enlightened: #4fb3dd; --emulated: #ee8b4a; --good: #57c78c; --run: #ffffff;
    --part0: #ee8b4a; --part1: #f2c063; --part2: #4fb3dd; --part3: #8b98a2; --part4: #59656f; --part5: #9bd6ee;
    --part6: #a68be0; --part7: #66c7a1; --part8: #d9768f;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.soft, figcaption, caption { color: var(--soft); }
a { color: var(--enlightened); }
.busy { color: var(--emulated); }
.good { color: var(--good); font-weight: 600; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: .8rem; max-width: none; margin: 1.4rem 0; padding: 0; list-style: none; }
.cards li, figure, .scroll { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.cards li { padding: .8rem 1rem; }
.cards b { display: block; font-size: 1.8rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; padding: 1rem 1rem .6rem; }
figcaption { font-size: .88rem; margin: 0 0 .6rem; }
figcaption b { display: block; color: var(--ink); font-size: 1rem; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font-size: 12px; font-variant-numeric: tabular-nums; }
svg .end { text-anchor: end; }
svg .label { font-weight: 600; }
svg .path, svg .tick { fill: var(--soft); font-size: 11px; }
svg .tick { text-anchor: middle; }
svg .grid { stroke: var(--line); }
svg .run { fill: var(--run); fill-opacity: .38; }
svg .whisker { stroke: var(--ink); stroke-width: 1.4; fill: none; }
svg .enlightened { fill: var(--enlightened); stroke: var(--enlightened); }
svg .emulated { fill: var(--emulated); stroke: var(--emulated); }
svg rect.enlightened, svg rect.emulated { stroke: none; }
svg .ring { fill: var(--card); stroke-width: 2; }
svg .range { stroke-width: 3; }
.part0 { fill: var(--part0); background: var(--part0); } .part1 { fill: var(--part1); background: var(--part1); }
.part2 { fill: var(--part2); background: var(--part2); } .part3 { fill: var(--part3); background: var(--part3); }
.part4 { fill: var(--part4); background: var(--part4); } .part5 { fill: var(--part5); background: var(--part5); }
.part6 { fill: var(--part6); background: var(--part6); } .part7 { fill: var(--part7); background: var(--part7); }
.part8 { fill: var(--part8); background: var(--part8); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; font-size: .85rem; color: var(--soft); margin: .2rem 0 .4rem; }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; vertical-align: -.05em; }
i.enlightened { background: var(--enlightened); } i.emulated { background: var(--emulated); }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .7rem .9rem 0; font-size: .88rem; }
th, td { padding: .34rem .9rem; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
thead th { border-top: 0; }
th:first-child, td:first-child, .text td, .text th { text-align: left; }
.text td { white-space: normal; }
tbody th { font-weight: 400; }
tr.detail th, tr.detail td { color: var(--soft); border-top: 0; padding-top: 0; }
tr.detail th { padding-left: 2.2rem; }
tr.projection th, tr.projection td { font-style: italic; }
ul { max-width: 46rem; padding-left: 1.2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin: .6rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.tag { display: inline-block; font-size: .75rem; font-weight: 600; letter-spacing: .04em; text-transform: uppercase; border: 1px solid var(--emulated); color: var(--emulated); border-radius: 999px; padding: .05rem .6rem; vertical-align: .15em; }
@media (max-width: 640px) { main { padding: 1.5rem .8rem 3rem; } th, td { padding: .34rem .5rem; } }
@media print { body { background: #fff; } figure, .scroll, .cards li { break-inside: avoid; } }
`;
