// What all pages share: words, amounts, requests, messages and the log-in. The session is
// a cookie that scripts cannot read.
export const $ = (id) => document.getElementById(id);

const words = JSON.parse($("words").textContent);
export const locale = document.documentElement.lang;

// t returns the words for a key, with {name} replaced.
export const t = (key, values = {}) =>
  (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

const format = new Intl.NumberFormat(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
export const money = (n) => format.format(n / 100);
export const count = (n) => new Intl.NumberFormat(locale).format(n);

// amount reads what a person wrote: digits, and one comma or point before one or two more.
// Anything else is null. So 12,50 is never 1250, in no language.
export function amount(text) {
  const m = /^\s*(\d{1,11})(?:[.,](\d{1,2}))?\s*$/.exec(text);
  return m ? Number(m[1]) * 100 + Number((m[2] || "").padEnd(2, "0")) : null;
}

let zone;
export const time = (text) => new Date(text).toLocaleString(locale, { dateStyle: "short", timeStyle: "short", timeZone: zone });
export const clock = (text) => new Date(text).toLocaleTimeString(locale, { timeStyle: "short", timeZone: zone });

// el makes an element. Children that are text stay text.
export function el(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else if (key in e && key !== "list") e[key] = value;
    else e.setAttribute(key, value);
  }
  e.append(...children);
  return e;
}

// Not crypto.randomUUID: browsers have it on localhost and HTTPS only.
export const newKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join("-");

// Failure is an answer that is none: refused, or unknown because nothing came back.
export class Failure extends Error {
  constructor(status, data, retryAfter) {
    super("status " + status);
    Object.assign(this, { status, data, retryAfter });
  }
  // unknown: a change may have been made.
  get unknown() { return this.status === 0 || this.status >= 500; }
  get words() {
    const minutes = Math.max(1, Math.ceil((this.retryAfter || 60) / 60));
    switch (this.status) {
      case 0: case 502: case 503: case 504: case 500: return t("eAway");
      case 401: return t("eLogin");
      case 403: return t("eForbidden");
      case 429: return t("eLimit", { minutes });
      case 409: return t("eConflict");
      default: return t("eRefused");
    }
  }
}

// api sends a request and returns the answer's object. It never waits for ever.
export async function api(method, path, body, { key, patience = 12_000 } = {}) {
  let response, data;
  try {
    response = await fetch("/api/v1/" + path, {
      method, signal: AbortSignal.timeout(patience),
      headers: { ...(body && { "Content-Type": "application/json" }), ...(key && { "Idempotency-Key": key }) },
      body: body && JSON.stringify(body),
    });
    data = response.status === 204 ? null : await response.json();
  } catch {
    throw new Failure(response && !response.ok ? response.status : 0, {});
  }
  if (response.ok) return data;
  if (response.status === 401 && path !== "login/") showLogin(t("eLogin"));
  throw new Failure(response.status, data, Number(response.headers.get("Retry-After")));
}

export function say(text, problem = false) {
  $("message").textContent = text;
  $("message").classList.toggle("problem", problem);
}

export const announce = (text) => { $("announce").textContent = text; };

export const wordsOf = (error) => (error instanceof Failure ? error.words : String(error.message || error));

// guard runs what an event asks for, once at a time, and says what goes wrong.
export function guard(f) {
  let busy = false;
  return async (event) => {
    event?.preventDefault();
    if (busy) return;
    busy = true;
    try { await f(event); } catch (error) { say(wordsOf(error), true); } finally { busy = false; }
  };
}

// newest makes of a function one whose late answers are dropped: only the newest call's
// answer is shown.
export function newest(load, show) {
  let last = 0;
  return async (...args) => {
    const mine = ++last;
    const value = await load(...args);
    if (mine === last) show(value, ...args);
  };
}

// ask asks a question in a dialog and returns whether the answer is yes.
export function ask(question) {
  $("question").textContent = question;
  $("ask").returnValue = "no";
  $("ask").showModal();
  return new Promise((resolve) =>
    $("ask").addEventListener("close", () => resolve($("ask").returnValue === "yes"), { once: true }));
}

let page; // what the page does when somebody is logged in and out

function showLogin(text = "") {
  page?.leave?.();
  $("content").hidden = $("nav").hidden = $("account").hidden = true;
  $("login").hidden = false;
  say(text, Boolean(text));
  $("login").username.focus();
}

async function enter() {
  const me = await api("GET", "me/");
  zone = me.timezone === "Local" ? undefined : me.timezone;
  $("login").hidden = true;
  $("nav").hidden = $("account").hidden = false;
  $("who").textContent = me.user;
  const manager = me.role === "admin";
  for (const e of document.querySelectorAll("[data-manager]")) e.hidden = !manager;
  for (const a of $("nav").children) {
    if (a.getAttribute("href") === location.pathname) a.setAttribute("aria-current", "page");
  }
  if (page.manager && !manager) { say(t("managersOnly"), true); return; }
  $("content").hidden = false;
  await page.enter({ ...me, manager });
}

// start begins a page: {manager, enter(me), leave()}.
export function start(what) {
  page = what;
  $("login").addEventListener("submit", guard(async () => {
    const form = $("login");
    try {
      await api("POST", "login/", { username: form.username.value, password: form.password.value });
    } catch (error) {
      form.password.value = "";
      if (error.status === 401) throw new Error(t("eWrong"));
      if (error.status === 429) throw new Error(t("eLoginLimit", { minutes: Math.ceil((error.retryAfter || 60) / 60) }));
      throw error;
    }
    form.reset();
    say("");
    await enter();
  }));
  $("logout").addEventListener("click", guard(async () => {
    page.forget?.();
    await api("POST", "logout/");
    showLogin();
  }));
  enter().catch((error) => {
    if (error.status === 401) showLogin();
    else { say(wordsOf(error), true); setTimeout(() => location.reload(), 10_000); }
  });
}

// pager makes the buttons below a list load its pages.
export function pager(load) {
  let page = 1;
  const show = newest((n) => load(n), (list, n) => {
    page = n;
    $("pages").textContent = t("pageOf", { page: count(list.current_page), pages: count(list.total_pages) });
    $("previous").disabled = !list.previous;
    $("next").disabled = !list.next;
    list.show();
  });
  $("previous").addEventListener("click", guard(() => show(page - 1)));
  $("next").addEventListener("click", guard(() => show(page + 1)));
  return (n = 1) => show(n);
}

// typed calls f when somebody has stopped typing.
export function typed(input, f) {
  let timer;
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(f, 250); });
}
