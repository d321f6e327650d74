"use strict";
// The theme first, before anything is painted; then ages that count on, regions that change, and forms that are sent once.
(() => {
  const root = document.documentElement;
  const themes = ["auto", "light", "dark"];
  let theme = "auto";
  try { theme = localStorage.getItem("hive-theme") || "auto"; } catch { /* storage is switched off */ }
  const paint = () => { if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme; };
  paint();

  const words = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
  function offerThemes() {
    const button = document.getElementById("theme");
    if (!button) return;
    const say = () => { button.textContent = { auto: "◐", light: "☀", dark: "☾" }[theme]; button.title = words[theme]; button.setAttribute("aria-label", words[theme]); };
    button.hidden = false;
    say();
    button.addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      try { localStorage.setItem("hive-theme", theme); } catch { /* it lasts for this page */ }
      paint();
      say();
    });
  }

  // Ages, in the words of the server.
  const thin = "\u202f";
  function span(s) {
    if (s < 60) return `${Math.round(s)}${thin}s`;
    if (s < 3600) return `${Math.floor(s / 60)}${thin}min`;
    const [large, small, names] = s < 86400 ? [3600, 60, ["h", "min"]] : [86400, 3600, ["d", "h"]];
    const rest = Math.floor(s % large / small);
    const text = names[1] === "min" ? String(rest).padStart(2, "0") : rest;
    return `${Math.floor(s / large)}${thin}${names[0]}${rest ? ` ${text}${thin}${names[1]}` : ""}`;
  }
  function age() {
    for (const one of document.querySelectorAll("time[data-age]")) {
      const s = (Date.now() - Date.parse(one.dateTime)) / 1000;
      const text = Math.abs(s) < 1 ? "now" : s > 0 ? `${span(s)} ago` : `in ${span(-s)}`;
      if (one.textContent !== text) one.textContent = text;
    }
  }

  // Make `old` look like `fresh` and keep what a person is in the middle of: focus, what is open, what is scrolled.
  const keyOf = (node) => node.nodeType === 1 ? node.getAttribute("data-key") : null;
  function alike(a, b) {
    return a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
  }
  function morph(old, fresh) {
    if (old.nodeType !== 1) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.matches("input[data-csrf], time[data-age]")) {
      if (old.dateTime !== fresh.dateTime) { old.dateTime = fresh.dateTime; old.title = fresh.title; }
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && !(name === "open" && old.nodeName === "DETAILS")) old.setAttribute(name, value);
    }
    children(old, fresh);
  }
  function children(old, fresh) {
    const keyed = new Map([...old.children].filter(keyOf).map((node) => [keyOf(node), node]));
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const key = keyOf(wanted);
      const known = key ? keyed.get(key) : null;
      if (known && known !== at) old.insertBefore(known, at);
      const here = known || at;
      if (here && alike(here, wanted)) {
        morph(here, wanted);
        at = here.nextSibling;
      } else {
        old.insertBefore(wanted, at);
      }
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  }

  function live() {
    const meta = document.querySelector('meta[name="live"]');
    const sign = document.getElementById("live");
    if (!meta || !sign || !window.EventSource) return;
    const text = document.getElementById("live-text");
    const say = (state, word) => { if (sign.dataset.state !== state) { sign.dataset.state = state; text.textContent = word; } };
    const source = new EventSource(`/live?at=${encodeURIComponent(meta.content)}`);
    source.addEventListener("regions", (event) => {
      for (const [name, html] of Object.entries(JSON.parse(event.data))) {
        const region = document.querySelector(`[data-region="${CSS.escape(name)}"]`);
        if (!region) continue;
        const fresh = document.createElement("template");
        fresh.innerHTML = html;
        children(region, fresh.content);
      }
      say("on", "live");
      age();
    });
    source.addEventListener("away", () => say("off", "the ledger does not answer"));
    source.addEventListener("bye", () => { source.close(); location.reload(); });
    source.onerror = () => say("off", source.readyState === EventSource.CLOSED ? "not live: load the page again" : "connecting again");
    addEventListener("pagehide", () => source.close());
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const token = form.querySelector("input[data-csrf]");
    if (token) token.value = document.querySelector('meta[name="csrf"]').content;
    if (form.method === "post") {
      const button = form.querySelector("button");
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "1";
      if (button) button.setAttribute("aria-disabled", "true");
    }
  });
  document.addEventListener("DOMContentLoaded", () => { offerThemes(); age(); setInterval(age, 1000); live(); });
})();
