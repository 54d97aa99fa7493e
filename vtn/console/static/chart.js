// Draws the charts of a page. The library works on the specification's syntax tree ("ast"), so nothing is evaluated
// and the page's policy can forbid that; its own style elements are switched off, style.css has what they would say.
const me = document.getElementById("chart-library");
document.documentElement.classList.add("js"); // page.js may come later, and a place that is not shown has no width
const charts = new Map();

const library = new Promise((resolve, reject) => {
  const script = document.createElement("script");
  script.src = me.dataset.library;
  script.onload = () => resolve(window.vegaEmbed);
  script.onerror = () => reject(new Error(`${me.dataset.library} could not be loaded`));
  document.head.append(script);
});

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const ink = colour("--ink"), quiet = colour("--quiet"), line = colour("--line");
  return {
    background: "transparent",
    font: getComputedStyle(document.body).fontFamily,
    axis: { labelColor: quiet, titleColor: quiet, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
    legend: { labelColor: ink, titleColor: ink, orient: "bottom", labelFontSize: 13, symbolStrokeWidth: 3, columns: { signal: "width < 500 ? 2 : 6" } },
    view: { stroke: line },
    line: { strokeWidth: 2 },
    rule: { color: quiet },
    range: { category: [1, 2, 3, 4, 5, 6].map((n) => colour(`--series-${n}`)) },
  };
}

async function draw(place) {
  const id = place.dataset.chart;
  const spec = JSON.parse(document.querySelector(`script[data-spec="${CSS.escape(id)}"]`).textContent);
  const old = charts.get(id);
  for (const [name, rows] of Object.entries(old?.rows ?? {})) spec.datasets[name] = rows;
  old?.result?.finalize();
  const embed = await library;
  const holder = document.createElement("div");
  holder.className = "canvas";
  place.replaceChildren(holder);
  const result = await embed(holder, spec, {
    ast: true,
    actions: false,
    defaultStyle: false,
    renderer: "canvas",
    logLevel: 1, // errors only: an empty data set of a live chart is nothing to warn of
    tooltip: { disableDefaultStyle: true, id: "chart-tooltip", offsetX: 12, offsetY: 12 },
    config: theme(),
    loader: { http: { credentials: "omit" } },
  });
  charts.set(id, { place, result, rows: old?.rows ?? {} });
}

function drawAll() {
  for (const place of document.querySelectorAll("[data-chart]")) {
    draw(place).catch((error) => {
      console.error(error);
      const note = document.createElement("p");
      note.className = "empty";
      note.textContent = place.dataset.failed;
      place.replaceChildren(note);
    });
  }
}

drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
document.addEventListener("evenload:swapped", (event) => {
  for (const place of event.detail.querySelectorAll("[data-chart]")) draw(place).catch(() => {});
});

// Replace named data sets of a chart: update("live", {lines: [...], now: [...]}).
export async function update(id, datasets) {
  const chart = charts.get(id);
  if (!chart) return;
  Object.assign(chart.rows, datasets);
  const view = chart.result.view;
  for (const [name, rows] of Object.entries(datasets)) {
    try { view.data(name, rows); } catch { /* the chart has no such data set */ }
  }
  await view.runAsync();
}
document.addEventListener("evenload:chart", (event) => update(event.detail.id, event.detail.datasets));
