"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const tip = document.getElementById("tip");
  const sections = [...document.querySelectorAll(".completion")];
  const minus = (text) => text.replace("-", "−");
  const nats = (x) => minus(x.toFixed(3));
  const signed = (x) => (Number(x.toFixed(3)) > 0 ? "+" : "") + minus(x.toFixed(3));

  // Theme: the system's until the button is pressed; ?theme=dark or ?theme=light in the address fixes it.
  const button = document.querySelector(".theme");
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  const wanted = new URLSearchParams(location.search).get("theme");
  if (wanted === "dark" || wanted === "light") root.dataset.theme = wanted;
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; name(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();

  const edges = (spaces) => "␣".repeat(spaces.length);
  const readable = (text) => text === "" ? "part of a character"
    : text.replace(/^ +| +$/g, edges).replaceAll("\n", "↵").replaceAll("\t", "⇥");

  function fill(index, at, token) {
    const row = data.completions[index];
    const shown = [["token", `${at} of ${row.m.length}`]];
    if (row.m[at]) {
      shown.push(["information", `${signed(row.s[at])} nats`]);
      shown.push([data.label, `${nats(row.v[at])} → ${nats(row.v[at + 1])}`]);
    } else {
      shown.push(["information", "not measured"]);
    }
    if (row.h) shown.push(["policy entropy, nats", nats(row.h[at])]);
    const code = document.createElement("code");
    code.textContent = readable(token.textContent);
    const list = document.createElement("dl");
    for (const [key, value] of shown) {
      const dt = document.createElement("dt");
      const dd = document.createElement("dd");
      dt.textContent = key;
      dd.textContent = value;
      list.append(dt, dd);
    }
    tip.replaceChildren(code, list);
  }

  function place(x, top, bottom) {
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, x - 24), root.clientWidth - box.width - 8);
    const above = top - box.height - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above >= 8 ? above : Math.min(bottom + 8, innerHeight - box.height - 8)}px`;
  }

  // Over the plot the tip keeps off the text, where the token is marked.
  function beside(x, top) {
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${x < root.clientWidth / 2 ? x + 20 : x - box.width - 20}px`;
    tip.style.top = `${Math.max(8, Math.min(top + 8, innerHeight - box.height - 8))}px`;
  }

  sections.forEach((section, index) => {
    const tokens = [...section.querySelectorAll(".t")];
    const plot = section.querySelector(".plot");
    if (!tokens.length) return;
    const cursor = plot.querySelector(".cursor");
    const left = Number(plot.dataset.left);
    const step = Number(plot.dataset.step);
    let here = -1;
    let entry = 0;

    function clear() {
      if (here >= 0) tokens[here].classList.remove("here");
      cursor.classList.remove("on");
      tip.hidden = true;
      here = -1;
    }
    function show(at) {
      if (here === at) return;
      clear();
      here = at;
      tokens[at].classList.add("here");
      cursor.setAttribute("x", left + at * step);
      cursor.classList.add("on");
      fill(index, at, tokens[at]);
    }
    function atToken(at) {
      show(at);
      const box = tokens[at].getClientRects()[0] || tokens[at].getBoundingClientRect();
      place(box.left, box.top, box.bottom);
    }
    function go(at) {
      tokens[entry].tabIndex = -1;
      entry = Math.max(0, Math.min(tokens.length - 1, at));
      tokens[entry].tabIndex = 0;
      tokens[entry].focus();
    }
    // The token of the next line, up or down, whose middle is nearest.
    function line(at, direction) {
      const middle = (box) => (box.left + box.right) / 2;
      const start = tokens[at].getBoundingClientRect();
      let best = at;
      let distance = Infinity;
      let row = null;
      for (let t = at + direction; t >= 0 && t < tokens.length; t += direction) {
        const box = tokens[t].getBoundingClientRect();
        if (Math.abs(box.bottom - start.bottom) < 4) continue;
        if (row === null) row = box.bottom;
        if (Math.abs(box.bottom - row) > 4) break;
        const gap = Math.abs(middle(box) - middle(start));
        if (gap < distance) [best, distance] = [t, gap];
      }
      return best;
    }

    const text = section.querySelector(".text");
    const indexOf = (target) => target instanceof Element ? tokens.indexOf(target.closest(".t")) : -1;
    text.addEventListener("pointerover", (event) => {
      const at = indexOf(event.target);
      if (at >= 0) atToken(at);
    });
    text.addEventListener("pointerleave", clear);
    text.addEventListener("focusin", (event) => {
      const at = indexOf(event.target);
      if (at < 0) return;
      tokens[entry].tabIndex = -1;
      entry = at;
      tokens[at].tabIndex = 0;
      atToken(at);
    });
    text.addEventListener("focusout", clear);
    text.addEventListener("keydown", (event) => {
      const at = indexOf(event.target);
      if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
      const to = {
        ArrowLeft: () => at - 1, ArrowRight: () => at + 1, ArrowUp: () => line(at, -1), ArrowDown: () => line(at, 1),
        Home: () => 0, End: () => tokens.length - 1,
      }[event.key];
      if (event.key === "Escape") clear();
      if (!to) return;
      event.preventDefault();
      go(to());
    });

    const under = (event) => {
      const box = plot.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * plot.viewBox.baseVal.width;
      return Math.max(0, Math.min(tokens.length - 1, Math.floor((x - left) / step)));
    };
    plot.addEventListener("pointermove", (event) => {
      show(under(event));
      beside(event.clientX, plot.getBoundingClientRect().top);
    });
    plot.addEventListener("pointerleave", clear);
    plot.addEventListener("click", (event) => {
      const at = under(event);
      tokens[at].scrollIntoView({ block: "center" });
      go(at);
    });
    section.addEventListener("click", (event) => {
      const link = event.target instanceof Element ? event.target.closest("a[data-token]") : null;
      if (!link) return;
      event.preventDefault();
      go(Number(link.dataset.token));
    });
    text.addEventListener("click", (event) => {
      const at = indexOf(event.target);
      if (at >= 0 && String(getSelection()) === "") go(at);
    });
  });

  // One completion at a time; without scripts, and in print, all of them stand below each other.
  const tabs = [...document.querySelectorAll(".tabs a")];
  function choose(index, focus) {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
      sections[i].hidden = i !== index;
    });
    if (focus) tabs[index].focus();
  }
  if (tabs.length) {
    document.querySelector(".tabs").setAttribute("role", "tablist");
    tabs.forEach((tab, index) => {
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", sections[index].id);
      sections[index].setAttribute("role", "tabpanel");
      tab.addEventListener("click", (event) => { event.preventDefault(); choose(index, true); });
      tab.addEventListener("keydown", (event) => {
        const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (!move) return;
        event.preventDefault();
        choose((index + move + tabs.length) % tabs.length, true);
      });
    });
    const linked = /^#c(\d+)/.exec(location.hash);
    choose(linked ? Math.min(Number(linked[1]), tabs.length - 1) : 0, false);
  }
  const target = /^#c\d+t\d+$/.test(location.hash) ? document.getElementById(location.hash.slice(1)) : null;
  if (target) target.focus();
  // The text moves under a tip at rest; moving the focus scrolls too, and there the tip follows.
  addEventListener("scroll", () => {
    const token = document.activeElement;
    if (tip.hidden || !token || !token.matches(".t.here")) { tip.hidden = true; return; }
    const box = token.getBoundingClientRect();
    place(box.left, box.top, box.bottom);
  }, { passive: true });
})();
