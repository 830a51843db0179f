// Functions of all pages: words, amounts, requests, messages and the log-in. Scripts cannot
// read the session cookie.
import { dropSale } from "./keep.js";

export const $ = (id) => document.getElementById(id);

const words = JSON.parse($("words").textContent);
export const locale = document.documentElement.lang;

// t returns the words for a key, with {name} replaced.
export const t = (key, values = {}) =>
  (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

const format = new Intl.NumberFormat(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
export const money = (n) => format.format(n / 100);
export const count = (n) => new Intl.NumberFormat(locale).format(n);

// amount reads a typed amount: digits, then optionally one comma or point and one or two
// digits. Any other text is null. So 12,50 is never read as 1250, in any language.
export function amount(text) {
  const m = /^\s*(\d{1,11})(?:[.,](\d{1,2}))?\s*$/.exec(text);
  return m ? Number(m[1]) * 100 + Number((m[2] || "").padEnd(2, "0")) : null;
}

let zone;
export const time = (text) => new Date(text).toLocaleString(locale, { dateStyle: "short", timeStyle: "short", timeZone: zone });
export const hour = (at) => new Intl.DateTimeFormat(locale, { hour: "2-digit", hourCycle: "h23", timeZone: zone }).format(at);
export const clock = (text) => new Date(text).toLocaleTimeString(locale, { timeStyle: "short", timeZone: zone });

// el makes an element. Text children stay text.
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

// Not crypto.randomUUID, because browsers offer it only on localhost and HTTPS.
export const newKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join("-");

// Words is an error with a text for the user.
export class Words extends Error {}

// Failure is a request that was refused, or whose outcome is unknown because no response came.
export class Failure extends Error {
  constructor(status, data = {}, retryAfter = 0) {
    super("status " + status);
    Object.assign(this, { status, data, retryAfter });
  }
  // unknown means that a change may have been made.
  get unknown() { return this.status === 0 || this.status >= 500; }
  get words() {
    const minutes = Math.max(1, Math.ceil((this.retryAfter || 60) / 60));
    switch (this.status) {
      case 0: case 502: case 503: case 504: case 500: return t("eAway");
      case 401: return t("eLogin");
      case 403: return t("eForbidden");
      case 404: return t("eGone");
      case 429: return t("eLimit", { minutes });
      case 409: return t({ spent: "eSpent", exists: "eExists", manager: "eLastManager", voided: "eVoided", cancelled: "eCancelled" }[this.data.code] || "eConflict");
      default: return t("eRefused");
    }
  }
}

// Stale is the response to a request of an earlier session. The page drops it.
class Stale extends Error {}

// session counts log-ins and log-outs, and has the user that the page shows.
export const session = { number: 0, user: "" };

// The line at the top of the page shows how long a request has been waiting.
const pending = new Set();
let ticker;
function drawWaiting() {
  const longest = Math.max(0, ...[...pending].map((p) => Date.now() - p.since));
  $("waiting").textContent = longest > 4000 ? t("slow") : longest > 500 ? t("loading") : "";
  document.body.setAttribute("aria-busy", String(longest > 500));
  if (!pending.size) ticker = clearInterval(ticker);
}

// api sends a request and returns the object of the response. It fails when patience is over.
// The shop refuses a request if another window has logged in as another user.
export async function api(method, path, body, { key, patience = 12_000 } = {}) {
  const mine = session.number, request = { since: Date.now() }, entering = path === "login/" || path === "me/";
  pending.add(request);
  ticker ??= setInterval(drawWaiting, 250);
  let response, data, failure;
  try {
    response = await fetch("/api/v1/" + path, {
      method, signal: AbortSignal.timeout(patience),
      headers: {
        ...(body && { "Content-Type": "application/json" }), ...(key && { "Idempotency-Key": key }),
        ...(!entering && { "X-Pos-User": encodeURIComponent(session.user) }),
      },
      body: body && JSON.stringify(body),
    });
    data = response.status === 204 ? {} : await response.json();
    if (!data || typeof data !== "object") throw new TypeError("want an object");
    if (response.headers.has("Idempotency-Replayed")) data.replayed = true;
    if (!response.ok) failure = new Failure(response.status, data, Number(response.headers.get("Retry-After")));
  } catch {
    failure = new Failure(response && !response.ok ? response.status : 0);
  } finally {
    pending.delete(request);
    drawWaiting();
  }
  if (method === "GET" && mine !== session.number) throw new Stale();
  if (failure?.status === 401 && mine === session.number && !entering) showLogin(t("eLogin"));
  if (failure) throw failure;
  return data;
}

// list requests a list, and fails if the response has none.
export async function list(path) {
  const answer = await api("GET", path);
  if (!Array.isArray(answer.results)) throw new Failure(0);
  return answer;
}

// line is the place where the user sees messages: the bar of the till, or the top of a page.
const line = () => ($("outcome") && !$("content").hidden ? $("outcome") : $("message"));

// say shows a message in place of the previous one.
export function say(text, problem = false) {
  $("message").textContent = "";
  if ($("outcome")) $("outcome").textContent = "";
  line().textContent = text;
  line().classList.toggle("problem", problem);
}

export const announce = (text) => { $("announce").textContent = text; };
export const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// wordsOf returns the text of an error for the user. Script errors go to the console.
export function wordsOf(error) {
  if (error instanceof Failure) return error.words;
  if (error instanceof Words) return error.message;
  console.error(error);
  return t("eBroken");
}

// loads returns an event handler that runs f and shows its error.
export const loads = (f) => async (event) => {
  event?.preventDefault();
  try { await f(event); } catch (error) { if (!(error instanceof Stale)) say(wordsOf(error), true); }
};

// guard is loads for changes. While one runs, the same event starts no other.
export function guard(f) {
  let busy = false;
  const run = loads(f);
  return async (event) => {
    event?.preventDefault();
    if (busy) return;
    busy = true;
    try { await run(event); } finally { busy = false; }
  };
}

// newest returns a function that drops late responses. The page shows only the response or the
// failure of the newest call.
export function newest(load, show) {
  let last = 0;
  return async (...args) => {
    const mine = ++last;
    let value;
    try { value = await load(...args); } catch (error) { if (mine === last) throw error; return; }
    if (mine === last) show(value, ...args);
  };
}

// ask shows a question in a dialog and returns whether the user says yes. With a label it also
// shows a text field, and returns its text.
export function ask(question, label = "") {
  $("question").textContent = question;
  $("ask-label").hidden = $("ask-text").disabled = !label;
  $("ask-words").textContent = label;
  $("ask-text").value = "";
  $("ask").returnValue = "no";
  $("ask").showModal();
  return new Promise((resolve) => {
    $("ask").addEventListener("close", () => {
      const yes = $("ask").returnValue === "yes";
      resolve(label ? yes && $("ask-text").value.trim() : yes);
    }, { once: true });
  });
}

// editor returns the functions of the dialog that changes one record. A response that arrives after
// the user has closed the dialog is for the page, and leaves the dialog of another record open.
export function editor(nameOf) {
  let record;
  const dialog = $("edit"), shows = (one) => dialog.open && one === record;
  $("edit-cancel").addEventListener("click", () => dialog.close());
  return {
    record: () => record,
    open(one) {
      record = one;
      $("edit-title").textContent = t("editOf", { name: nameOf(one) });
      $("edit-problem").textContent = "";
      dialog.showModal();
    },
    close(one) { if (shows(one)) dialog.close(); },
    tell(one, text) { if (shows(one)) $("edit-problem").textContent = text; else say(`${nameOf(one)}: ${text}`, true); },
  };
}

let page; // the functions of this page for log-in and log-out

// blank returns a function that makes the content as the shop sent it, so that nothing of a user
// stays in the document. The elements stay, because scripts have added their listeners to them.
function blank() {
  const all = [...$("content").querySelectorAll("*")];
  const empty = all.filter((e) => !e.hasChildNodes()), states = all.map((e) => [e, e.hidden, e.open, e.disabled]);
  const links = all.filter((e) => e.tagName === "A").map((e) => [e, e.getAttribute("href")]);
  return () => {
    for (const e of empty) e.replaceChildren();
    for (const [e, hidden, open, disabled] of states) Object.assign(e, { hidden, ...(open !== undefined && { open }), ...(disabled !== undefined && { disabled }) });
    for (const [a, href] of links) if (href === null) a.removeAttribute("href"); else a.setAttribute("href", href);
    for (const e of all) {
      if (e.tagName === "FORM") e.reset();
      else if (e.tagName === "INPUT" && !e.form) e.value = e.defaultValue;
    }
  };
}
let clean;

function showLogin(text = "") {
  session.number++;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close("no");
  page.leave?.();
  clean();
  $("question").textContent = $("ask-text").value = $("announce").textContent = "";
  $("content").hidden = $("nav").hidden = $("account").hidden = true;
  $("who").textContent = "";
  $("login").hidden = false;
  say(text, Boolean(text));
  $("login").username.focus();
}

// enter retries until the shop returns the user of the session, and opens the page for that
// user. Meanwhile the user can log in.
async function enter() {
  const mine = ++session.number;
  let me;
  for (let wait = 1000; !me; wait = Math.min(2 * wait, 10_000)) {
    try {
      me = await api("GET", "me/");
      if (!me.user) { me = null; throw new Failure(0); }
    } catch (error) {
      if (!error.unknown) throw error;
      $("login").hidden = false;
      say(t("eEnter"), true);
      await sleep(wait);
      if (mine !== session.number) throw new Stale();
    }
  }
  zone = me.timezone === "Local" ? undefined : me.timezone;
  $("login").hidden = true;
  $("nav").hidden = $("account").hidden = false;
  $("who").textContent = session.user = me.user;
  say("");
  const manager = me.role === "admin";
  for (const e of document.querySelectorAll("[data-manager]")) e.hidden = !manager;
  for (const a of $("nav").children) {
    if (a.getAttribute("href") === location.pathname) a.setAttribute("aria-current", "page");
  }
  if (page.manager && !manager) { say(t("managersOnly"), true); return; }
  $("content").hidden = false;
  await page.enter({ ...me, manager });
}

async function logIn() {
  const form = $("login");
  say("");
  try {
    await api("POST", "login/", { username: form.username.value, password: form.password.value });
  } catch (error) {
    form.password.value = "";
    form.password.focus();
    if (error.status === 401) throw new Words(t("eWrong"));
    if (error.status === 429) throw new Words(t("eLoginLimit", { minutes: Math.ceil((error.retryAfter || 60) / 60) }));
    throw error;
  }
  form.reset();
  await enter();
}

async function logOut() {
  if (page.busy?.()) throw new Words(t("waitSale"));
  // First: customer data leaves the browser even if the shop is unavailable.
  if (page.forget) page.forget(); else dropSale(session.user, newKey());
  try {
    await api("POST", "logout/");
  } catch (error) {
    if (error.status === 401) return;
    throw new Words(t("eLogout"));
  }
  showLogin();
}

// start begins a page: {manager, enter(me), leave(), forget(), busy()}.
export function start(what) {
  page = what;
  clean = blank();
  $("boot").remove();
  $("login").addEventListener("submit", guard(logIn));
  $("logout").addEventListener("click", guard(logOut));
  $("ask-no").addEventListener("click", () => $("ask").close("no"));
  // The Enter of a scanner confirms nothing.
  $("ask-text").addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  enter().catch((error) => {
    if (error instanceof Stale) return;
    if (error instanceof Failure && !session.user) showLogin(error.status === 401 ? "" : error.status === 403 ? t("eLogin") : wordsOf(error));
    else say(wordsOf(error), true);
  });
}

// pager makes the buttons below a list load its pages, and shows errors.
export function pager(load, failed = (error) => say(wordsOf(error), true)) {
  let page = 1, text = "";
  const place = (words) => { $("pages").textContent = words; };
  const show = newest(async (n) => {
    place(t("loading"));
    try { return await load(n); } finally { place(text); }
  }, (found, n) => {
    page = n;
    place(text = t("pageOf", { page: count(found.current_page), pages: count(found.total_pages) }));
    $("previous").disabled = !found.previous;
    $("next").disabled = !found.next;
    found.show();
  });
  const go = (n) => show(n).catch((error) => { if (!(error instanceof Stale)) failed(error); });
  $("previous").addEventListener("click", () => go(page - 1));
  $("next").addEventListener("click", () => go(page + 1));
  return (n = 1) => go(n);
}

// typed calls f when the user stops typing, unless Enter came first.
export function typed(input, f) {
  let timer;
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(f, 250); });
  input.form.addEventListener("submit", () => clearTimeout(timer));
}
