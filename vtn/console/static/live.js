// Listens to the page's stream: <section data-stream="/dispatches/x/stream">.
// What it says of itself stands in the data of [data-stream-state].
// A message is {"text": {id: "..."}, "html": {id: "..."}, "charts": {id: {data set: rows}}}; html comes from our own templates.
for (const section of document.querySelectorAll("[data-stream]")) {
  const state = section.querySelector("[data-stream-state]");
  const say = (text, tone) => {
    if (!state || state.textContent === text) return;
    state.textContent = text;
    state.className = `badge ${tone}`;
  };
  const source = new EventSource(section.dataset.stream);
  const words = state?.dataset ?? {};
  source.addEventListener("open", () => say(words.live, "good"));
  source.addEventListener("error", () => {
    say(source.readyState === EventSource.CLOSED ? words.stopped : words.lost, "warn");
  });
  source.addEventListener("end", () => { say(words.finished, "quiet"); source.close(); });
  source.addEventListener("message", (event) => {
    const news = JSON.parse(event.data);
    for (const [id, text] of Object.entries(news.text ?? {})) {
      const place = document.getElementById(id);
      if (place && place.textContent !== text) place.textContent = text;
    }
    for (const [id, html] of Object.entries(news.html ?? {})) {
      const place = document.getElementById(id);
      if (!place || place.querySelector("details[open]") || place.contains(document.activeElement)) continue;
      place.innerHTML = html;
    }
    for (const [id, datasets] of Object.entries(news.charts ?? {})) {
      document.dispatchEvent(new CustomEvent("evenload:chart", { detail: { id, datasets } }));
    }
  });
  addEventListener("pagehide", () => source.close());
}
// A page that comes back out of the browser's memory has lost its stream.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
