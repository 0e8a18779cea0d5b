"use strict";
// Liveness: one stream a tab. What changed is asked for again by htmx; without this file the pages
// read and write all the same.
(() => {
  const stream = document.body.dataset.stream;
  const said = document.getElementById("said");
  const light = document.getElementById("live");
  const phases = new Map();
  let waiting = null;
  let due = new Set();

  const shine = (on) => {
    if (!light) return;
    light.hidden = false;
    light.classList.toggle("gone", !on);
    light.lastElementChild.textContent = on ? "live" : "not live";
  };

  const refresh = () => {
    waiting = null;
    const all = due.has("*");
    for (const part of document.querySelectorAll("[data-live]")) {
      const busy = part.contains(document.activeElement) &&
        ["SELECT", "INPUT", "TEXTAREA"].includes(document.activeElement.tagName);
      if (!busy && (all || part.dataset.live === "*" || due.has(part.dataset.live))) {
        htmx.trigger(part, "refresh");
      }
    }
    due = new Set();
  };

  const ask = (uids) => {
    for (const uid of uids) due.add(uid);
    if (waiting === null) waiting = setTimeout(refresh, 300);
  };

  const tell = (moved) => {
    const shown = document.querySelector("[data-live]");
    for (const one of moved) {
      const before = phases.get(one.uid);
      phases.set(one.uid, one.phase);
      const concerns = shown && ["*", one.uid].includes(shown.dataset.live);
      if (concerns && !one.phase && shown.dataset.live === one.uid) {
        location.assign("/ui/trash"); // where it can be had back from
        return;
      }
      if (concerns && before !== one.phase) {
        said.textContent = one.phase ? `${one.name}: ${one.phase}` : `${one.name} is gone`;
      }
    }
  };

  if (stream && window.EventSource && window.htmx) {
    // What is shown may be gone when it is asked for again: the stream says so, too.
    htmx.config.responseHandling = [
      { code: "204", swap: false },
      { code: "[23]..", swap: true },
      { code: "404", swap: false, error: false },
      { code: "[45]..", swap: false, error: true },
    ];
    let opened = false;
    const source = new EventSource(stream);
    source.addEventListener("open", () => {
      shine(true);
      if (opened) ask(["*"]); // what moved meanwhile nobody told
      opened = true;
    });
    source.addEventListener("changed", (event) => {
      const moved = JSON.parse(event.data);
      tell(moved);
      ask(moved.map((one) => one.uid));
    });
    source.addEventListener("much", () => ask(["*"]));
    source.addEventListener("bye", () => location.reload());
    source.addEventListener("error", () => shine(false));
  }

  // The log: text, never markup. A stream that ends is not begun again by itself: it would repeat.
  const MOST_LINES = 2000;
  let following = null;
  const follow = (link) => {
    const log = document.getElementById("log");
    const state = document.getElementById("log-state");
    following?.close();
    log.hidden = false;
    log.textContent = "";
    state.textContent = "Waiting for its words…";
    following = new EventSource(link.dataset.follow);
    following.addEventListener("log", (event) => {
      const low = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      log.append(event.data.replace(/\x1b\[[0-?]*[ -/]*[@-~]/g, "") + "\n");
      while (log.childNodes.length > MOST_LINES) log.firstChild.remove();
      if (low) log.scrollTop = log.scrollHeight;
      state.textContent = "Following.";
    });
    following.addEventListener("error", () => {
      following.close();
      state.textContent = log.textContent ? "It has ended." : "There is nothing to read now.";
    });
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-follow]");
    if (link && window.EventSource && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      follow(link);
    }
  });

  // Ages grow while nobody asks the server: the words are those of `words.span`.
  const span = (s) => s >= 86400 ? `${Math.floor(s / 86400)} d` : s >= 3600 ? `${Math.floor(s / 3600)} h`
    : s >= 60 ? `${Math.floor(s / 60)} min` : `${Math.floor(s)} s`;
  setInterval(() => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const age = (Date.now() - Date.parse(time.dateTime)) / 1000;
      time.textContent = age >= 0 ? span(age) : `in ${span(-age)}`;
    }
  }, 5000);

  const chart = document.getElementById("chart");
  if (chart && window.uPlot) {
    const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--dim");
    const times = [], waits = [], works = [], lags = [];
    const axis = { stroke: ink(), grid: { stroke: "rgba(128,128,128,.2)" } };
    const plot = new uPlot({
      width: Math.max(280, chart.clientWidth), height: 200,
      series: [{}, { label: "waiting", stroke: "#d08a1d", width: 2 },
        { label: "in work", stroke: "#2b8a98", width: 2 },
        { label: "lag (s)", stroke: "#b3402c", width: 2, scale: "s" }],
      axes: [axis, axis, { ...axis, scale: "s", side: 1 }],
      scales: { y: { range: (_, low, high) => [0, Math.max(5, high)] },
        s: { range: (_, low, high) => [0, Math.max(1, high)] } },
    }, [times, waits, works, lags], chart);
    const sample = async () => {
      if (document.hidden) return;
      try {
        const now = await (await fetch(chart.dataset.series)).json();
        times.push(Date.now() / 1000);
        waits.push(now.waiting); works.push(now.working); lags.push(now.lag_s);
        for (const row of [times, waits, works, lags]) if (row.length > 300) row.shift();
        plot.setData([times, waits, works, lags]);
      } catch (_) { /* the next sample may come */ }
    };
    sample();
    setInterval(sample, 2000);
    addEventListener("resize", () => plot.setSize({ width: chart.clientWidth, height: 200 }));
  }
})();
