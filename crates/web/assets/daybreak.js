"use strict";
// Pages work without this. It keeps them live, counts down, follows logs and copies commands.
(() => {
  const $ = (id) => document.getElementById(id);
  const pad = (number) => String(number).padStart(2, "0");

  // Times: the reader's zone, ages and countdowns, in the words the server uses.
  const rough = (secs) => secs < 60 ? secs + " s" : secs < 3600 ? Math.floor(secs / 60) + " min"
    : secs < 172800 ? Math.floor(secs / 3600) + " h" : Math.floor(secs / 86400) + " days";
  const exact = (secs) => secs < 60 ? secs + " s" : secs < 3600 ? Math.floor(secs / 60) + " min " + secs % 60 + " s"
    : Math.floor(secs / 3600) + " h " + Math.floor(secs % 3600 / 60) + " min";
  const local = (date) => {
    const day = date.getFullYear() + "-" + pad(date.getMonth() + 1) + "-" + pad(date.getDate());
    return day + " " + pad(date.getHours()) + ":" + pad(date.getMinutes()) + ":" + pad(date.getSeconds());
  };
  const set = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  let counting = 0;
  function times() {
    const now = Date.now();
    for (const element of document.querySelectorAll("time[data-at]")) set(element, local(new Date(element.dateTime)));
    for (const element of document.querySelectorAll("time[data-ago]")) {
      const secs = Math.floor((now - Date.parse(element.dateTime)) / 1000);
      set(element, secs < 2 ? "just now" : rough(secs) + " ago");
    }
    let running = false;
    for (const element of document.querySelectorAll("time[data-left]")) {
      const secs = Math.ceil((Date.parse(element.dateTime) - now) / 1000);
      running = running || secs > 0;
      set(element, exact(Math.max(0, secs)));
    }
    clearTimeout(counting);
    // Only a countdown needs every second; a hidden tab needs nothing.
    if (!document.hidden) counting = setTimeout(times, running ? 1000 : 10000);
  }

  // Swapping: the old content becomes the new one with as few changes as possible, so that focus, selection and open
  // details stay as they are.
  function alike(one, other) {
    return one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
  }
  function morph(from, to) {
    if (from.nodeType !== 1) {
      if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
      return;
    }
    for (const { name } of [...from.attributes]) {
      if (!to.hasAttribute(name) && name !== "open" && name !== "hidden") from.removeAttribute(name);
    }
    for (const { name, value } of to.attributes) {
      // What the reader opened or closed stays so.
      if (name === "open" || name === "hidden" && from.dataset.copy !== undefined) continue;
      if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    }
    if (from.nodeName === "TIME" || from === document.activeElement && from.nodeName === "INPUT") {
      if (from.nodeName === "TIME") set(from, to.textContent);
      return;
    }
    const byId = new Map();
    for (const child of from.children) if (child.id) byId.set(child.id, child);
    let at = from.firstChild;
    for (const child of [...to.childNodes]) {
      const known = child.id && byId.get(child.id);
      if (known) {
        if (known === at) at = at.nextSibling; else from.insertBefore(known, at);
        morph(known, child);
      } else if (at && alike(at, child)) {
        const next = at.nextSibling;
        morph(at, child);
        at = next;
      } else {
        from.insertBefore(child, at);
      }
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  }

  // Live: the stream says when, the page fetches itself, hidden tabs are silent.
  const sign = $("live");
  function say(text, lost) {
    sign.hidden = !text;
    set(sign, text);
    sign.title = text;
    sign.classList.toggle("lost", Boolean(lost));
  }
  let fetching = false, again = false;
  async function refresh() {
    if (fetching) { again = true; return; }
    fetching = true;
    try {
      const answer = await fetch(location.href, { headers: { "Daybreak-Fragment": "1" }, cache: "no-store" });
      if (answer.ok || answer.status === 404) {
        const fresh = document.createElement("template");
        fresh.innerHTML = "<div id=\"content\">" + await answer.text() + "</div>";
        morph($("content"), fresh.content.firstChild);
        ready();
      }
    } catch { /* The stream notices a lost server and comes back by itself. */ }
    fetching = false;
    if (again) { again = false; refresh(); }
  }
  let stream = null;
  function listen(address, events) {
    stream = new EventSource(address);
    stream.onopen = () => say("live");
    stream.onerror = () => say("reconnecting…", true);
    for (const name in events) stream.addEventListener(name, events[name]);
  }
  const close = () => { if (stream) { stream.close(); stream = null; } };
  let lived = false;
  function live() {
    const address = document.body.dataset.live;
    if (!address || document.hidden || stream) return;
    if (lived) refresh();
    lived = true;
    listen(address, { refresh });
  }

  // Log viewer.
  const most = 5000;
  function viewer(log) {
    const wrap = $("wrap"), follow = $("follow"), filter = $("filter"), matches = $("matches");
    let address = log.dataset.follow, on = Boolean(address), pattern = null, last = 0;
    document.querySelector(".scripted").hidden = false;
    follow.hidden = !address;
    const bottom = () => { log.scrollTop = log.scrollHeight; };
    const near = () => log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
    function matched(line) { return !pattern || pattern(line.lastChild.textContent); }
    function sift(lines) { for (const line of lines) if (line.classList.contains("l")) line.classList.toggle("none", !matched(line)); }
    function count() {
      set(matches, pattern ? log.querySelectorAll(".l:not(.none)").length + " lines" : "");
    }
    function understand() {
      const text = filter.value, wanted = /^\/(.+)\/(i?)$/.exec(text);
      filter.setCustomValidity("");
      pattern = text ? (line) => line.toLowerCase().includes(text.toLowerCase()) : null;
      if (wanted) {
        try { const regex = new RegExp(wanted[1], wanted[2]); pattern = (line) => regex.test(line); }
        catch { filter.setCustomValidity("This is no regular expression."); }
      }
      sift(log.children);
      count();
    }
    function press(button, pressed) { button.setAttribute("aria-pressed", pressed); }
    function settle() { if (on) bottom(); }
    function turn(now) { if (on !== now) { on = now; press(follow, on); set(follow, on ? "Follow" : "Paused"); } }
    function add(html) {
      const fresh = document.createElement("template");
      fresh.innerHTML = html;
      sift(fresh.content.children);
      const part = log.querySelector(".part");
      if (part) part.remove();
      const nothing = $("nothing");
      if (nothing) nothing.remove();
      log.append(fresh.content);
      if (on) while (log.children.length > most) log.firstElementChild.remove();
      if (pattern) count();
      settle();
    }
    function start() {
      if (!address || document.hidden || stream) return;
      listen(address, {
        lines: (event) => { remember(event); add(event.data); },
        part: (event) => { remember(event); add("<span class=\"l part\"><a class=\"n\"></a><span class=\"t\">" + event.data + "</span></span>"); },
        rotated: (event) => { remember(event); const note = document.createElement("span"); note.className = "mark"; note.textContent = "— " + event.data + " —\n"; log.append(note); settle(); },
        end: (event) => {
          if (event.data.trim()) add(event.data);
          close(); address = ""; follow.hidden = true; say("");
          fetch(location.pathname + location.search, { headers: { "Daybreak-Fragment": "1" } }).then((answer) => answer.text()).then((html) => {
            const fresh = document.createElement("template");
            fresh.innerHTML = html;
            const end = fresh.content.querySelector("#end"), title = fresh.content.querySelector("h1");
            if (end) $("end").textContent = end.textContent;
            if (title) document.querySelector(".tools h1").replaceWith(title);
            settle();
          }).catch(() => {});
        },
      });
    }
    // A stream closed while hidden goes on where it stopped.
    function remember(event) {
      address = log.dataset.follow.split("?")[0] + "?" + event.lastEventId;
    }
    wrap.onclick = () => { press(wrap, log.classList.toggle("wrap")); };
    follow.onclick = () => { turn(!on); settle(); };
    filter.oninput = understand;
    log.addEventListener("scroll", () => {
      // Scrolling up pauses, reaching the end goes on.
      const up = log.scrollTop < last - 2;
      last = log.scrollTop;
      if (!address) return;
      if (near()) turn(true); else if (up) turn(false);
    }, { passive: true });
    log.focus({ preventScroll: true });
    if (!location.hash && !/[?&](at|from)=/.test(location.search)) bottom();
    else if (address) turn(near());
    return start;
  }

  // Commands to copy.
  function ready() {
    times();
    if (!navigator.clipboard) return;
    for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    navigator.clipboard.writeText(button.previousElementSibling.textContent).then(() => {
      set(button, "Copied");
      setTimeout(() => set(button, "Copy"), 1600);
    });
  });

  // "/" goes to the search, or to the filter of a log.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || /INPUT|TEXTAREA/.test(event.target.nodeName)) return;
    event.preventDefault();
    ($("filter") || $("find")).focus();
  });

  ready();
  const log = $("log");
  const start = log ? viewer(log) : live;
  start();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); } else { times(); start(); }
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => { if (event.persisted) start(); });
})();
