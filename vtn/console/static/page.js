// What every page has: the running clock, focus on what is wrong, times kept fresh, menus that close.
document.documentElement.classList.add("js");

const clock = document.querySelector("[data-clock]");
if (clock && Number(clock.dataset.speed) > 0) {
  const began = performance.now();
  const base = Number(clock.dataset.clock);
  const speed = Number(clock.dataset.speed);
  const offset = Number(clock.dataset.offset);
  const tick = () => {
    const world = base + (speed * (performance.now() - began)) / 1000;
    const shown = new Date((world + offset) * 1000).toISOString();
    clock.textContent = `${shown.slice(0, 10)} ${shown.slice(11, 19)}`;
    clock.dateTime = new Date(world * 1000).toISOString();
  };
  setInterval(tick, 1000);
}

document.querySelector("[data-focus]")?.focus();

// Only one question is open at a time, and Escape closes it.
document.addEventListener("toggle", (event) => {
  if (!event.target.matches?.("details.confirm") || !event.target.open) return;
  for (const other of document.querySelectorAll("details.confirm[open]")) {
    if (other !== event.target) other.open = false;
  }
}, true);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const one of document.querySelectorAll("details.confirm[open], details.menu[open]")) {
    one.open = false;
    one.querySelector("summary").focus();
  }
});

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "true";
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// "All of this page" for lists with boxes.
for (const all of document.querySelectorAll("input[data-all]")) {
  const boxes = () => document.querySelectorAll(`input[type=checkbox][name="${CSS.escape(all.dataset.all)}"]`);
  all.closest("[hidden]")?.removeAttribute("hidden");
  all.addEventListener("change", () => boxes().forEach((box) => { box.checked = all.checked; }));
}

// Regions with data-refresh="10" are fetched again every so many seconds and swapped where they changed.
const regions = [...document.querySelectorAll("[data-refresh][id]")];
if (regions.length) {
  const every = Math.max(2, Math.min(...regions.map((one) => Number(one.dataset.refresh) || 10)));
  const busy = (region) => region.contains(document.activeElement) && document.activeElement !== document.body
    && document.activeElement.matches("input, select, textarea, summary, button") || region.querySelector("details[open]");
  const refresh = async () => {
    if (document.hidden) return;
    let answer;
    try {
      answer = await fetch(location.href, { headers: { "X-Evenload-Refresh": "1" }, cache: "no-store" });
    } catch {
      return;
    }
    if (answer.status === 401) { location.reload(); return; }
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const region of regions) {
      const next = fresh.getElementById(region.id);
      if (!next || busy(region) || next.innerHTML === region.innerHTML) continue;
      const focused = region.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      region.replaceChildren(...next.childNodes);
      if (focused) region.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      document.dispatchEvent(new CustomEvent("evenload:swapped", { detail: region }));
    }
  };
  setInterval(refresh, every * 1000);
}
