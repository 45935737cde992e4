// What the pages do without being asked: they keep themselves and the ages of things up to date, and send commands
// without leaving. Everything works without this script, too.
"use strict";

(() => {
  const main = document.getElementById("main");
  const outcome = document.getElementById("outcome");
  const freshness = document.getElementById("freshness");
  const dialog = document.getElementById("sure");
  const everySeconds = Number(main.dataset.refresh || 0);
  const PATIENCE_SECONDS = 30;
  const state = { etag: "", looking: false, loaded: Date.now(), trouble: "" };

  // --- how long ago things are, by the rule of moments.py ------------------------------------------------------

  const UNITS = [[86400, "days", 2], [3600, "h", 1], [60, "min", 1]];

  function ageOf(seconds) {
    const length = Math.abs(seconds);
    let text = length < 59.5 ? `${Math.round(length)} s` : "";
    for (const [unit, name, fewest] of UNITS) {
      if (!text && length >= unit * fewest) text = `${Math.floor(length / unit)} ${name}`;
    }
    text = text || "1 min";
    return seconds >= 0 ? `${text} ago` : `in ${text}`;
  }

  // The server's clock counts, not this machine's: the page says when it was made.
  const made = document.querySelector(".foot time");
  const ahead = made ? Date.now() - Date.parse(made.dateTime) : 0;

  function keepAges() {
    for (const time of document.querySelectorAll("time")) {
      const age = time.querySelector(".age");
      const text = ageOf((Date.now() - ahead - Date.parse(time.dateTime)) / 1000);
      if (age && age.textContent !== text) age.textContent = text;
    }
  }

  // --- taking over a new state without losing the reader's place -----------------------------------------------

  const KEPT = new Set(["open", "value", "checked"]);

  function matches(old, fresh) {
    return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && (old.id || "") === (fresh.id || "");
  }

  function takeAttributes(old, fresh) {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
    }
    for (const { name, value } of [...fresh.attributes]) {
      if (old.getAttribute(name) !== value && !(KEPT.has(name) && isField(old))) {
        if (name !== "open") old.setAttribute(name, value);
      }
    }
  }

  function isField(node) {
    return ["INPUT", "SELECT", "OPTION", "TEXTAREA"].includes(node.nodeName) && node.type !== "hidden";
  }

  function takeOver(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    takeAttributes(old, fresh);
    takeChildren(old, fresh);
  }

  // Children with an id find each other wherever they stand; the others by their place.
  function takeChildren(old, fresh) {
    const named = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
    let place = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const known = wanted.id ? named.get(wanted.id) : undefined;
      if (known && known !== place && matches(known, wanted)) old.insertBefore(known, place);
      const present = known && matches(known, wanted) ? known : place;
      if (present && matches(present, wanted)) {
        takeOver(present, wanted);
        place = present.nextSibling;
      } else {
        old.insertBefore(wanted, place);
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  // --- asking the server ----------------------------------------------------------------------------------------

  // What is not answered in time is given up: else the page would grow old without a word.
  async function request(address, options) {
    const giveUp = new AbortController();
    const late = new Error(`no answer within ${PATIENCE_SECONDS} s`);
    const timer = setTimeout(() => giveUp.abort(late), PATIENCE_SECONDS * 1000);
    try {
      const answer = await fetch(address, { ...options, credentials: "same-origin", signal: giveUp.signal });
      return { answer, text: await answer.text() };
    } finally {
      clearTimeout(timer);
    }
  }

  // --- looking again --------------------------------------------------------------------------------------------

  function isBusy() {
    const field = document.activeElement;
    const typing = field && main.contains(field) && isField(field);
    return dialog.open || typing || main.querySelector("details.action[open]") !== null;
  }

  function isQuiet() {
    return document.visibilityState !== "visible" || isBusy();
  }

  async function look() {
    if (state.looking) return;
    state.looking = true;
    try {
      const headers = state.etag ? { "If-None-Match": state.etag } : {};
      const { answer, text } = await request(location.href, { headers, cache: "no-store", redirect: "error" });
      if (answer.status !== 304) {
        if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
        const page = new DOMParser().parseFromString(text, "text/html");
        const fresh = page.getElementById("main");
        if (!fresh) throw new Error("that is no page of ours");
        if (isBusy()) return; // somebody has begun to type meanwhile
        takeChildren(main, fresh);
        document.title = page.title;
        state.etag = answer.headers.get("ETag") || "";
      }
      state.loaded = Date.now();
      state.trouble = "";
    } catch (error) {
      state.trouble = error.message;
    } finally {
      state.looking = false;
      say();
      keepAges();
    }
  }

  function say() {
    const kept = isBusy() ? "Waits while a form is open." : `Looks again every ${everySeconds} s.`;
    const old = `! What you see is of ${ageOf((Date.now() - state.loaded) / 1000)} (${state.trouble}). Trying again.`;
    freshness.textContent = state.trouble ? old : kept;
    freshness.classList.toggle("stale", state.trouble !== "");
  }

  // --- commands -------------------------------------------------------------------------------------------------

  function ask(question) {
    document.getElementById("sure-question").textContent = question;
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((decided) => dialog.addEventListener("close", () => decided(dialog.returnValue === "yes"), { once: true }));
  }

  function bodyOf(form) {
    const body = {};
    for (const [name, value] of new FormData(form)) {
      if (name !== "confirm" && value !== "") body[name] = name === "force" ? true : value;
    }
    return body;
  }

  function questionOf(form, body) {
    return form.dataset.sure.replace(/\{(\w+)(?:\|([^}]*))?\}/g, (_, name, otherwise) => body[name] || otherwise || "");
  }

  function tell(well, word, text) {
    const line = document.createElement("p");
    line.className = `notice ${well ? "good" : "bad"}`;
    const said = document.createElement("span");
    said.textContent = `${well ? "✓" : "✕"} ${word}: ${text}`;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "button";
    close.textContent = "Close";
    close.addEventListener("click", () => outcome.replaceChildren());
    line.append(said, close);
    outcome.replaceChildren(line);
  }

  // What stands between us and the server may answer with a page of its own.
  function replyIn(text) {
    try {
      return JSON.parse(text);
    } catch {
      return null;
    }
  }

  async function send(form) {
    const command = form.dataset.command;
    const body = bodyOf(form);
    if (form.dataset.sure && !(await ask(questionOf(form, body)))) return;
    const model = new URL(form.action).pathname.split("/")[2];
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const { answer, text } = await request(`/v1/models/${encodeURIComponent(model)}:${command}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
      const said = replyIn(text);
      if (!said) throw new Error(`HTTP ${answer.status}, not in our words`);
      const word = answer.ok ? said.status : said.title;
      tell(said.status === "accepted", `${command} ${word}`, answer.ok ? said.reason : said.detail);
      const action = form.closest("details.action");
      if (action && said.status === "accepted") {
        action.open = false;
        action.querySelector("summary").focus();
        form.reset();
      }
    } catch (error) {
      const advice = "Reload the page: it shows whether it was done all the same.";
      tell(false, `${command} failed`, `the server gave no answer (${error.message}). ${advice}`);
    } finally {
      button.disabled = false;
      state.etag = "";
      await look();
    }
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.command) return;
    event.preventDefault();
    send(form);
  });

  // The second click of a double one was meant for the button that was there, not for the one in its place by now.
  document.addEventListener("click", (event) => {
    if (event.detail > 1 && event.target.closest("form[data-command] button, dialog button")) event.preventDefault();
  });

  // A panel closes with Escape, and when somebody clicks beside it.
  document.addEventListener("keydown", (event) => {
    const open = main.querySelector("details.action[open]");
    if (event.key === "Escape" && open && !dialog.open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });
  document.addEventListener("click", (event) => {
    const open = main.querySelector("details.action[open]");
    if (open && !open.contains(event.target) && !dialog.contains(event.target)) open.open = false;
  });

  setInterval(keepAges, 5000);
  if (everySeconds > 0) {
    say();
    setInterval(() => (isQuiet() ? say() : look()), everySeconds * 1000);
    document.addEventListener("visibilitychange", () => isQuiet() || look());
  }
})();
