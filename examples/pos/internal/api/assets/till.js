// The till. A sale is in one of these phases:
//
//   empty    nothing is rung up
//   open     goods are in the basket, and can be changed
//   paying   the sale is on its way; nothing can be changed
//   unknown  no answer came; the shop is asked by the sale's key
//   done     sold; the receipt is shown, and the next sale begins
//
// Basket, key and phase are kept in the browser, so that they survive a reload. A card and
// its holder belong to one sale and are forgotten with it.
import { $, t, el, api, money, count, amount, say, announce, guard, newest, pager, typed, newKey, ask, start, clock, time, Failure, wordsOf } from "./core.js";

let me;
let sale; // {phase, items: [{id, name, price, quantity}], key, body}
let holder = null; // the card in the field, as the shop knows it
let receipt = null;

const store = {
  get name() { return "pos.till." + me.user; },
  save() { try { localStorage.setItem(this.name, JSON.stringify(sale)); } catch { /* storage is off */ } },
  load() { try { return JSON.parse(localStorage.getItem(this.name)); } catch { return null; } },
};

const fresh = () => ({ phase: "empty", items: [], key: newKey(), body: null });
const total = () => sale.items.reduce((sum, i) => sum + i.price * i.quantity, 0);
const cardNumber = () => $("card").value.trim();

function outcome(text, problem = false) {
  say("");
  $("outcome").textContent = text;
  $("outcome").classList.toggle("problem", problem);
}

// enterPhase changes the phase, keeps it, and draws what follows from it.
function enterPhase(phase) {
  sale.phase = phase;
  store.save();
  const locked = phase === "paying" || phase === "unknown";
  $("entry").disabled = locked;
  $("bar").setAttribute("aria-busy", String(phase === "paying"));
  $("sell").disabled = locked;
  $("sell").hidden = phase === "unknown";
  $("again").hidden = $("drop").hidden = phase !== "unknown";
  for (const b of $("products").querySelectorAll("button")) b.disabled = locked || b.dataset.stock === "0";
}

function add(product, quantity) {
  if (sale.phase === "paying" || sale.phase === "unknown") return;
  const i = sale.items.findIndex((item) => item.id === product.id);
  if (i < 0) sale.items.push({ id: product.id, name: product.name, price: product.price, quantity });
  else if ((sale.items[i].quantity += quantity) < 1) sale.items.splice(i, 1);
  sale.key = newKey(); // another basket is another sale
  $("receipt").hidden = true;
  enterPhase(sale.items.length ? "open" : "empty");
  outcome("");
  drawBasket();
  announce(t(quantity > 0 ? "added" : "removed", { name: product.name, total: money(total()) }));
}

function drawBasket() {
  const focused = document.activeElement?.dataset.focus;
  $("items").replaceChildren(...sale.items.map((item) => {
    const change = (sign, by, words) => el("button", {
      type: "button", ariaLabel: t(words, { name: item.name }), "data-focus": `${item.id}${sign}`, onclick: () => add(item, by),
    }, sign);
    return el("tr", {}, el("td", {}, item.name),
      el("td", { className: "count" }, change("−", -1, "less"), el("span", {}, count(item.quantity)), change("+", 1, "moreOf")),
      el("td", {}, money(item.price * item.quantity)));
  }));
  if (focused) (document.querySelector(`[data-focus="${focused}"]`) || $("search")).focus();
  $("nothing").hidden = sale.items.length > 0;
  $("clear").hidden = sale.items.length === 0;
  $("total").textContent = money(total());
  drawChange();
}

function drawChange() {
  const given = amount($("given").value);
  const back = given === null ? null : given - total();
  $("change").textContent = back === null || cardNumber() || !sale.items.length ? ""
    : back < 0 ? t("tooLittleCash", { amount: money(-back) }) : t("changeDue", { amount: money(back) });
}

// The line below the card shows the holder of the number in the field, or nothing.
function forgetHolder() {
  holder = null;
  $("holder").textContent = "";
  $("holder").classList.remove("problem");
}

const lookUp = newest(
  (number) => (number ? api("GET", `cards/${encodeURIComponent(number)}/`).catch((error) => error) : null),
  (found, number) => {
    if (number !== cardNumber()) return;
    forgetHolder();
    if (found instanceof Error) {
      $("holder").textContent = found.status === 404 ? t("noCard") : t("cardFailed");
      $("holder").classList.add("problem");
    } else if (found) {
      holder = found;
      $("card").value = found.number;
      $("holder").textContent = t("holderIs", { child: found.child, balance: money(found.balance) });
    }
  });

async function checkCard() {
  forgetHolder();
  drawChange();
  if (cardNumber()) $("holder").textContent = t("checking");
  await lookUp(cardNumber());
}

function clearCard() {
  $("card").value = $("given").value = $("person").value = $("amount").value = "";
  $("found").replaceChildren();
  $("forgot").open = $("money").open = false;
  forgetHolder();
  drawChange();
}

// sell begins a payment. A card whose holder is not shown is looked up first, so that the
// cashier sees the name.
async function sell() {
  if (sale.phase === "paying" || sale.phase === "unknown") return;
  if (!sale.items.length) { outcome(t("emptyBasket"), true); return; }
  if (cardNumber() && holder?.number !== cardNumber()) {
    await checkCard();
    outcome(holder ? t("checkName") : $("holder").textContent, !holder);
    return;
  }
  sale.body = { items: sale.items.map((i) => ({ product: i.id, quantity: i.quantity })), total: total() };
  if (cardNumber()) sale.body.card = cardNumber();
  sale.given = cardNumber() ? null : amount($("given").value);
  await pay();
}

// pay sends the sale, again under the same key while nobody knows what became of it.
async function pay() {
  enterPhase("paying");
  outcome(t("selling"));
  const slow = setTimeout(() => outcome(t("slow")), 4000);
  try {
    for (let attempt = 0; ; attempt++) {
      try {
        sold(await api("POST", "sales/", sale.body, { key: sale.key }));
        return;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (!error.unknown) { refused(error); return; }
        clearTimeout(slow);
        outcome(t("unknown"), true);
        if (await askShop()) return;
        if (attempt === 2) break;
        await new Promise((resolve) => setTimeout(resolve, 1000 * 2 ** attempt));
      }
    }
    enterPhase("unknown");
    outcome(t("unknownStill"), true);
    $("again").focus();
  } finally {
    clearTimeout(slow);
  }
}

// askShop asks by the key whether the sale was made.
async function askShop() {
  const answer = await api("GET", "sales/?key=" + encodeURIComponent(sale.key), null, { patience: 5000 }).catch(() => null);
  if (answer?.results.length) sold(answer.results[0]);
  return answer?.results.length ? true : answer ? false : null;
}

// sold says first that the sale is made; everything after it only decorates the page.
function sold(made) {
  outcome(t("soldFor", { total: money(made.total), id: made.id }));
  const given = sale.given;
  sale = fresh();
  clearCard();
  enterPhase("done");
  drawBasket();
  try { showReceipt(made, given); } catch { /* the sale stands */ }
  showProducts().catch(() => {});
  $("search").focus();
}

function refused(error) {
  const d = error.data || {};
  enterPhase("open");
  if (error.status === 401) return;
  const item = sale.items.find((i) => i.id === d.product);
  const name = item?.name || "";
  switch (d.code) {
    case "stock": outcome(t("eStock", { left: count(d.left), name }), true); break;
    case "inactive": outcome(t("eInactive", { name }), true); break;
    case "balance": outcome(t("eBalance", { balance: money(d.balance), total: money(d.total) }), true); break;
    case "price":
      for (const i of sale.items) i.price = d.prices[i.id] ?? i.price;
      sale.key = newKey();
      outcome(t("ePrice", { total: money(d.total) }), true);
      break;
    default:
      if (error.status === 422) { sale.key = newKey(); outcome(t("eUsed"), true); } else outcome(error.words, true);
  }
  store.save();
  drawBasket();
  showProducts().catch(() => {});
  if (holder) lookUp(cardNumber()).catch(() => {});
}

function showReceipt(made, given) {
  receipt = made;
  const line = (...cells) => el("tr", {}, ...cells.map((c) => el("td", {}, c)));
  const notes = [made.card ? t("paidCard", { card: made.card }) : t("paidCash")];
  if (given !== null && given !== undefined && given >= made.total) notes.push(t("givenLine", { amount: money(given) }), t("changeDue", { amount: money(given - made.total) }));
  if (made.voided_by || made.voids) notes.push(t("voided"));
  $("receipt-body").replaceChildren(
    el("p", {}, `${t("saleNo", { id: made.id })}, ${time(made.created_at)}, ${made.cashier}`),
    el("table", {}, el("tbody", {}, ...made.items.map((i) => line(`${count(i.quantity)} × ${i.name}`, money(i.price * i.quantity))), line(t("total"), money(made.total)))),
    ...notes.map((n) => el("p", {}, n)));
  $("void").hidden = !me.manager || Boolean(made.voided_by || made.voids);
  $("receipt").hidden = false;
}

async function voidSale() {
  const reason = prompt(t("whyVoid"));
  if (!reason?.trim() || !(await ask(t("askVoid", { id: receipt.id, total: money(receipt.total) })))) return;
  await api("POST", `sales/${receipt.id}/void/`, { reason: reason.trim() });
  outcome(t("voidDone", { id: receipt.id }));
  showReceipt({ ...receipt, voided_by: -1 });
  showProducts().catch(() => {});
}

async function showRecent() {
  if (!$("recent").open) return;
  const list = await api("GET", "sales/?cursor=&page_size=10");
  $("recents").replaceChildren(...list.results.map((made) => el("li", {}, el("button", {
    type: "button", onclick: () => { showReceipt(made); $("receipt").scrollIntoView({ block: "nearest" }); },
  }, `${clock(made.created_at)}  ${t("saleNo", { id: made.id })}  ${money(made.total)}`))));
}

const showProducts = pager(async (page) => {
  const query = new URLSearchParams({ page, page_size: 24, search: $("search").value.trim(), category: $("category").value });
  let list;
  try {
    list = await api("GET", "products/?" + query);
    $("goods-problem").textContent = "";
  } catch (error) {
    $("goods-problem").textContent = t("goodsFailed");
    throw error;
  }
  return { ...list, show: () => drawProducts(list.results) };
});

function drawProducts(products) {
  $("products").replaceChildren(...products.map((product) => {
    const button = el("button", { type: "button", "data-stock": product.stock, onclick: () => add(product, 1) },
      el("span", {}, product.name), el("b", {}, money(product.price)), el("small", {}, product.stock ? t("left", { n: count(product.stock) }) : t("soldOut")));
    if (product.stock < 20) button.classList.add("low");
    return el("li", {}, button);
  }));
  enterPhase(sale.phase);
}

// scan adds the product of a scanned SKU, or the only one that a search finds.
async function scan() {
  const text = $("search").value.trim();
  if (!text) return;
  const list = await api("GET", "products/?" + new URLSearchParams({ search: text, page_size: 24 }));
  const found = list.results.find((p) => p.sku.toLowerCase() === text.toLowerCase()) || (list.count === 1 && list.results[0]);
  if (!found) { outcome(t("noProduct", { text }), true); return; }
  $("search").value = "";
  add(found, 1);
  await showProducts();
  $("search").focus();
}

async function findPeople() {
  const list = await api("GET", "customers/?" + new URLSearchParams({ search: $("person").value.trim() }));
  const children = list.results.flatMap((c) => c.children.map((child) => ({ ...child, parent: c.name })));
  $("found").replaceChildren(...(children.length ? children.map((child) => el("li", {}, el("button", {
    type: "button", onclick: () => { $("card").value = child.card.number; $("forgot").open = false; $("found").replaceChildren(); checkCard(); $("card").focus(); },
  }, `${child.name} (${child.parent})`))) : [el("li", {}, t("none"))]));
}

// topUp puts money on the card whose holder is shown. Its key is kept until the outcome is
// known, and belongs to the card and the amount.
let topUpKey = null;
async function topUp() {
  const value = amount($("amount").value);
  if (value === null || value < 1) { outcome(t("eAmount", { example: money(1250) }), true); return; }
  if (!cardNumber()) { outcome(t("needCard"), true); $("card").focus(); return; }
  if (holder?.number !== cardNumber()) {
    await checkCard();
    if (!holder) { outcome($("holder").textContent, true); return; }
  }
  if (value > me.topup_limit) { outcome(t("eTopLimit", { limit: money(me.topup_limit) }), true); return; }
  const { child, number } = holder;
  if (value >= me.large_topup && !(await ask(t("askTopup", { amount: money(value), child })))) return;
  const what = `${number}/${value}`;
  if (topUpKey?.what !== what) topUpKey = { what, key: newKey() };
  $("entry").disabled = true;
  outcome(t("selling"));
  let made = null;
  try {
    for (let attempt = 0; !made; attempt++) {
      try {
        made = await api("POST", "topups/", { card: number, amount: value }, { key: topUpKey.key });
      } catch (error) {
        if (!error.unknown || attempt === 2) throw error;
        outcome(t("unknown"), true);
        await new Promise((resolve) => setTimeout(resolve, 1000 * 2 ** attempt));
      }
    }
  } catch (error) {
    outcome(error.unknown ? t("unknownStill") : wordsOf(error), true);
    return;
  } finally {
    enterPhase(sale.phase);
  }
  topUpKey = null;
  outcome(t("toppedUp", { amount: money(made.amount), child, balance: money(made.balance) }));
  $("amount").value = "";
  await lookUp(cardNumber());
}

$("sell").addEventListener("click", guard(sell));
$("again").addEventListener("click", guard(pay));
$("drop").addEventListener("click", guard(async () => {
  const made = await askShop();
  if (made === false) {
    sale.body = null;
    enterPhase("open");
    outcome(t("notMade"));
  } else if (made === null) outcome(t("unknownStill"), true);
}));
$("clear").addEventListener("click", () => { sale = fresh(); clearCard(); enterPhase("empty"); outcome(""); drawBasket(); $("search").focus(); });
$("find").addEventListener("submit", guard(scan));
typed($("search"), guard(() => showProducts()));
$("category").addEventListener("change", guard(() => showProducts()));
$("card").addEventListener("input", () => { forgetHolder(); drawChange(); if (sale.items.length) { sale.key = newKey(); store.save(); } });
$("card").addEventListener("change", guard(checkCard));
$("pay-by").addEventListener("submit", guard(async () => { if (cardNumber()) await checkCard(); $("sell").focus(); }));
$("given").addEventListener("input", drawChange);
$("people").addEventListener("submit", guard(findPeople));
$("topup").addEventListener("submit", guard(topUp));
$("print").addEventListener("click", () => window.print());
$("void").addEventListener("click", guard(voidSale));
$("recent").addEventListener("toggle", guard(showRecent));
document.addEventListener("keydown", (event) => {
  const target = { F2: "search", F4: "card" }[event.key];
  if ($("content").hidden || $("ask").open || (!target && event.key !== "F9")) return;
  event.preventDefault();
  if (target) $(target).focus(); else $("sell").click();
});

async function showCategories() {
  const list = await api("GET", "categories/");
  $("category").append(...list.results.map((c) => new Option(c.name, c.id)));
}

start({
  async enter(who) {
    me = who;
    sale = { ...fresh(), ...store.load() };
    clearCard();
    outcome("");
    drawBasket();
    if (sale.phase === "done") sale.phase = "empty";
    enterPhase(sale.phase);
    $("search").focus();
    const parts = [showProducts()];
    if ($("category").options.length < 2) parts.push(showCategories());
    Promise.allSettled(parts);
    if (sale.phase === "paying" || sale.phase === "unknown") {
      enterPhase("unknown");
      outcome(t("unknown"), true);
      const made = await askShop();
      if (!made) outcome(t("unknownStill"), true);
    }
  },
  // leave takes what belongs to customers off the document. The basket stays in the
  // browser, for this user's return.
  leave() {
    if (!sale) return;
    clearCard();
    $("receipt").hidden = true;
    $("receipt-body").replaceChildren();
    $("recents").replaceChildren();
    $("recent").open = false;
    $("items").replaceChildren();
    $("products").replaceChildren();
    $("search").value = "";
    outcome("");
    receipt = null;
  },
  // forget is a log-out: only a sale whose outcome is unknown is kept.
  forget() {
    if (sale.phase !== "unknown" && sale.phase !== "paying") { sale = fresh(); store.save(); }
  },
});
