// The till. It is a client of the API like any other; the session is a cookie that this
// script cannot read.
"use strict";

const $ = (id) => document.getElementById(id);
const money = (n) => (n / 100).toFixed(2);
// Not crypto.randomUUID: browsers have it on localhost and HTTPS only, and tills are
// other machines.
const newKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join("-");
const basket = new Map(); // product id -> {product, quantity}
let page = 1;
let shown = []; // the products on the page
let holder = null; // the card whose balance is shown
let day = null;
let dayShown = 0;
let key = newKey(); // of the sale that is being rung up: it happens once
let topUpKey = newKey(); // of the top-up that is being written, likewise

async function api(method, path, body, headers = {}) {
  const response = await fetch("/api/v1/" + path, {
    method, headers: { ...headers, ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  }).catch(() => { throw new Error("The shop cannot be reached. Nothing is lost: try again."); });
  const data = response.status === 204 ? null : await response.json().catch(() => ({}));
  if (response.status === 401 && path !== "login/") showLogin();
  if (!response.ok) throw new Error(data.detail || data.message || response.statusText);
  return data;
}

function say(text, problem = false) {
  $("message").textContent = text;
  $("message").classList.toggle("problem", problem);
}

const attempt = (f) => async (event) => {
  event?.preventDefault();
  const button = event?.submitter;
  if (button) button.disabled = true; // a second press is not a second sale
  try { await f(event); } catch (error) { say(error.message, true); }
  if (button) button.disabled = false;
};

function element(name, text, ...children) {
  const e = document.createElement(name);
  e.textContent = text;
  e.append(...children);
  return e;
}

const who = (name) => {
  try { if (name !== undefined) sessionStorage.setItem("who", name); } catch { /* storage is off */ }
  try { $("who").textContent = sessionStorage.getItem("who") || ""; } catch { $("who").textContent = name || ""; }
};

function showLogin() {
  $("shop").hidden = $("logout").hidden = true;
  $("login").hidden = false;
  who("");
  $("login").username.focus();
}

async function showShop() {
  const categories = await api("GET", "categories/");
  $("login").hidden = true;
  $("shop").hidden = $("logout").hidden = false;
  who();
  $("category").replaceChildren(new Option("all", ""), ...categories.results.map((c) => new Option(c.name, c.id)));
  await Promise.all([showProducts(), showDay()]);
}

async function showProducts() {
  const query = new URLSearchParams({ page, page_size: 24, search: $("search").value, category: $("category").value });
  const list = await api("GET", "products/?" + query);
  shown = list.results;
  drawProducts();
  $("pages").textContent = `${list.current_page} of ${list.total_pages}`;
  $("previous").disabled = !list.previous;
  $("next").disabled = !list.next;
}

function drawProducts() {
  $("products").replaceChildren(...shown.map((product) => {
    const button = element("button", product.name, element("b", money(product.price)), element("small", product.stock ? `${product.stock} left` : "sold out"));
    if (product.stock < 20) button.classList.add("low");
    button.type = "button";
    button.disabled = product.stock === 0;
    button.addEventListener("click", () => add(product, 1));
    return element("li", "", button);
  }));
}

function add(product, quantity) {
  const line = basket.get(product.id) || { product, quantity: 0 };
  line.quantity += quantity;
  if (line.quantity > 0) basket.set(product.id, line); else basket.delete(product.id);
  key = newKey(); // another basket is another sale
  showBasket();
}

function showBasket() {
  let total = 0;
  $("items").replaceChildren(...[...basket.values()].map(({ product, quantity }) => {
    total += product.price * quantity;
    const change = (sign, by, words) => {
      const button = element("button", sign);
      button.type = "button";
      button.setAttribute("aria-label", `${words} ${product.name}`);
      button.addEventListener("click", () => add(product, by));
      return button;
    };
    const cell = element("td", "", change("−", -1, "one less of"), " " + quantity + " ", change("+", 1, "one more of"));
    cell.className = "count";
    return element("tr", "", element("td", product.name), cell, element("td", money(product.price * quantity)));
  }));
  $("empty").hidden = basket.size > 0;
  $("total").textContent = money(total);
}

async function showDay() {
  if (Date.now() - dayShown < 60_000) return;
  day = await api("GET", "dashboard/");
  dayShown = Date.now();
  drawDay();
}

function drawDay() {
  const figures = {
    Sales: day.sales, Revenue: money(day.revenue), "Average sale": money(day.average), "Paid by card": day.card_sales,
    "Top-ups": `${day.topups} (${money(day.topup_amount)})`, "Products running low": day.low_stock,
  };
  $("figures").replaceChildren(...Object.entries(figures).flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  $("week").replaceChildren(...day.last_seven_days.map((d) =>
    element("tr", "", element("td", d.date), element("td", d.sales), element("td", money(d.revenue)))));
}

async function showBalance() {
  const number = $("sell").card.value.trim();
  holder = number ? await api("GET", `cards/${encodeURIComponent(number)}/`) : null;
  drawBalance();
}

function drawBalance() {
  $("balance").textContent = holder ? `${holder.child}: ${money(holder.balance)}` : "";
}

$("login").addEventListener("submit", attempt(async (event) => {
  const form = event.target;
  const user = await api("POST", "login/", { username: form.username.value, password: form.password.value });
  form.reset();
  say("");
  who(user.user);
  await showShop();
}));
$("logout").addEventListener("click", attempt(async () => { await api("POST", "logout/"); showLogin(); }));
$("search").addEventListener("change", attempt(() => { page = 1; return showProducts(); }));
$("category").addEventListener("change", attempt(() => { page = 1; return showProducts(); }));
$("previous").addEventListener("click", attempt(() => { page--; return showProducts(); }));
$("next").addEventListener("click", attempt(() => { page++; return showProducts(); }));
$("sell").card.addEventListener("change", attempt(() => { key = newKey(); topUpKey = newKey(); return showBalance(); }));
$("topup").amount.addEventListener("input", () => { topUpKey = newKey(); });
$("sell").addEventListener("submit", attempt(async (event) => {
  const card = event.target.card.value.trim();
  const items = [...basket.values()].map(({ product, quantity }) => ({ product: product.id, quantity }));
  if (items.length === 0) throw new Error("Choose a product first.");
  const sale = await api("POST", "sales/", card ? { card, items } : { items }, { "Idempotency-Key": key });
  // What the answer tells is not asked again: a till has a limit of requests too.
  for (const { product, quantity } of basket.values()) product.stock -= quantity;
  if (holder && sale.card === holder.number) holder.balance -= sale.total;
  basket.clear();
  key = newKey();
  showBasket();
  drawProducts();
  drawBalance();
  day.sales++;
  day.revenue += sale.total;
  day.average = day.revenue / day.sales;
  if (sale.card) day.card_sales++;
  const today = day.last_seven_days.at(-1);
  Object.assign(today, { sales: day.sales, revenue: day.revenue });
  drawDay();
  say(`Sold for ${money(sale.total)} (sale ${sale.id}).`);
  await showDay();
}));
$("topup").addEventListener("submit", attempt(async (event) => {
  const card = $("sell").card.value.trim();
  if (!card) throw new Error("Write the number of the card first.");
  const done = await api("POST", "topups/", { card, amount: Math.round(event.target.amount.value * 100) }, { "Idempotency-Key": topUpKey });
  topUpKey = newKey();
  event.target.reset();
  say(`Topped up; the card has ${money(done.balance)} now.`);
  if (holder && done.card === holder.number) holder.balance = done.balance;
  drawBalance();
  day.topups++;
  day.topup_amount += done.amount;
  drawDay();
}));

showBasket();
// Whoever is not logged in is asked to, and not told off; what else goes wrong is said.
showShop().catch((error) => { if ($("login").hidden) { showLogin(); say(error.message, true); } });
