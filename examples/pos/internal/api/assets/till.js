// The till: selling, and the work of a cashier around a sale. The phases are in sale.js.
import { $, t, list, money, count, amount, say, guard, loads, typed, newKey, ask, start, Words } from "./core.js";
import { otherWindow } from "./keep.js";
import { asked, cancelled, sent } from "./outcome.js";
import { till, fresh, total, cardNumber, paying, save, load, unsaved, isSale, nextElsewhere, enterPhase, drawPhase, drawBasket, drawChange, settled, waiting } from "./sale.js";
import { forgetHolder, checkCard, chosen, takeCard, refreshCard, clearCard, findPeople, topUp, topUpAgain, dropTopUp, askTopUp, drawTopUp, unsafeTopUp, waitsForTopUp } from "./card.js";
import { showProducts, setStock, clearProducts, scan } from "./goods.js";
import { showReceipt, clearReceipt, voidSale, showRecent } from "./receipt.js";

// cash returns the amount that the customer gave, or null if the field is empty.
function cash() {
  const text = $("given").value.trim(), given = amount(text);
  if (!text) return null;
  if (given === null) { $("given").focus(); throw new Words(t("eAmount", { example: money(1250) })); }
  if (given < total()) { $("given").focus(); throw new Words(t("tooLittleCash", { amount: money(total() - given) })); }
  return given;
}

// checked reports whether the card may pay. It looks up a card whose holder is not shown yet,
// so that the cashier sees the name. If the look-up fails, the cashier decides.
async function checked(number) {
  if (!number || till.holder?.number === number) return true;
  await checkCard();
  if (till.holder) say(t("checkName"));
  else if ($("holder").textContent === t("noCard")) say(t("noCard"), true);
  else return number === cardNumber() && ask(t("askUnchecked", { card: number }));
  return false;
}

// step returns the handler of a transition of the sale. One runs at a time, and only from one of
// its phases. A transition waits for a question to the shop that the till asks by itself.
let asking = Promise.resolve();
const step = (phases, f) => loads(async () => {
  if (till.busy) return;
  till.busy = true;
  try {
    await asking;
    if (phases.includes(till.sale.phase)) await f();
  } finally { till.busy = false; }
});

// shown is the sale that the user sees. If it changes while Sell waits, the user decides again.
const shown = () => JSON.stringify([till.sale.number, till.sale.phase, total(), cardNumber()]);

async function sell() {
  if (till.toppingUp) return;
  const before = shown();
  if (waiting()) {
    const { holder } = till;
    say(t("waitScan"));
    const good = await settled();
    if (shown() !== before || holder !== till.holder) throw new Words(t(holder !== till.holder && till.holder ? "checkName" : "checkSale"));
    if ($("outcome").textContent === t("waitScan")) say("");
    if (!good) return;
  }
  if (!till.sale.items.length) throw new Words(t("emptyBasket"));
  const number = cardNumber(), { card } = till.sale;
  if (!number && card) {
    if (!(await ask(t("askCash", { card })))) { $("card").focus(); return; }
    till.sale.card = null;
  }
  const given = number ? null : cash();
  if (!(await checked(number)) || till.toppingUp || shown() !== before) return;
  if (nextElsewhere()) { takeOver(); throw new Words(t("checkSale")); }
  const { sale } = till;
  sale.body = { items: sale.items.map((i) => ({ product: i.id, quantity: i.quantity })), total: total() };
  if (number) sale.body.card = number;
  sale.given = given;
  sale.key = newKey();
  await pay();
}

// request returns a copy of the sale's request. A transition works with it, because the sale may
// belong to another window before the response.
const request = () => {
  const { key, body, given, unsure } = till.sale;
  return Object.freeze({ key, body: structuredClone(body), given, unsure, user: till.me.user });
};

// pay sends the sale. It repeats the request with the same key while the outcome is unknown.
async function pay() {
  const sale = request();
  const doubt = () => {
    clearTimeout(slow);
    if (!current(sale)) return;
    till.sale.unsure = true;
    enterPhase("paying");
    if (!$("content").hidden) say(t("unknown"), true);
  };
  enterPhase("paying");
  say(t("selling"));
  const slow = setTimeout(() => { if (!$("content").hidden) say(t("slowSale")); }, 4000);
  let end = {};
  try { end = await sent("sales/", sale, doubt); } catch (error) { console.error(error); }
  clearTimeout(slow);
  if (sale.user !== till.me.user) return; // the sale waits for its user
  if (end.made) { sold(sale, end.made); return; }
  if (end.refused) { refused(sale, end.refused); return; }
  if (!current(sale)) return;
  enterPhase("unknown");
  if ($("content").hidden) return;
  say(t("unknownStill"), true);
  $("again").focus();
}

// takeOver shows the sale that another window has stored. A card in the field belongs to the
// sale before it.
function takeOver() {
  const { key, number } = till.sale;
  load();
  if (till.sale.key !== key || till.sale.number !== number) clearCard();
  if ($("content").hidden) return;
  drawBasket();
  drawPhase();
}

// current reports, after a response, whether the till still has the sale of the request. Another
// window may have found the outcome and begun the next sale.
function current(sale) {
  if (sale.user !== till.me.user) return false;
  if (till.sale.key === sale.key && nextElsewhere()) { takeOver(); say(""); }
  return till.sale.key === sale.key;
}

// askShop reads by the key whether the sale was made.
async function askShop() {
  const sale = request(), end = await asked("sales/", sale.key);
  if (till.sale.key !== sale.key) return end;
  if (end?.made) sold(sale, end.made);
  else if (!till.busy && till.sale.phase === "paying" && current(sale)) { // by another window, which may be closed
    till.sale.unsure = true;
    enterPhase("unknown");
  }
  return end;
}

// sold first shows that the sale is made. The rest only updates the page.
function sold(sale, made) {
  const here = current(sale);
  say(t("soldFor", { total: money(made.total), id: made.id }));
  if (!here) return;
  till.sale = fresh();
  clearCard();
  enterPhase("done");
  drawBasket();
  if ($("content").hidden) return; // the session has ended
  try { showReceipt(made, sale.given); } catch (error) { console.error(error); }
  showProducts();
  showRecent().catch(() => {});
  $("search").focus();
}

// reopen returns to the basket, after the shop's word that its key makes nothing any more.
function reopen() {
  Object.assign(till.sale, { key: null, body: null, unsure: false });
  enterPhase(till.sale.items.length ? "open" : "empty");
}

function refused(sale, error) {
  if (!current(sale)) { say(error.words, true); return; }
  const d = error.data, { items } = till.sale;
  reopen();
  if (error.status === 401) return; // the page asks for the password
  const name = items.find((i) => i.id === d.product)?.name || "";
  const words = {
    stock: () => t("eStock", { left: count(d.left), name }),
    inactive: () => t("eInactive", { name }),
    balance: () => t("eBalance", { balance: money(d.balance), total: money(d.total) }),
    spent: () => t("eSpentCard"),
    price: () => t("ePrice", { total: money(d.total) }),
    used: () => t("eUsed"), // the key belongs to another basket, and nothing was sold
  }[error.status === 422 ? "used" : d.code];
  if (d.code === "price") for (const i of items) i.price = d.prices[i.id] ?? i.price;
  if (d.code === "stock") setStock(d.product, d.left);
  say(words ? words() : error.words, true);
  save();
  drawBasket();
  showProducts();
  refreshCard();
}

// drop returns from an unknown sale to the basket. It first cancels the key, so that a late request
// sells nothing.
async function drop() {
  const sale = request();
  say(t("unknown"), true);
  const end = await cancelled(sale.key);
  if (sale.user !== till.me.user) return;
  if (end?.made) { sold(sale, end.made); return; }
  if (!current(sale)) return;
  if (!end) throw new Words(t("unknownStill"));
  reopen();
  say(t("notMade"));
  if (till.sale.card && !cardNumber()) await takeCard(till.sale.card);
}

function clear() {
  till.sale = fresh();
  clearCard();
  enterPhase("empty");
  say("");
  drawBasket();
  $("search").focus();
}

// While an outcome is unknown, the till asks again, and at once when the network returns.
function askAgain() {
  if (!till.sale || $("content").hidden) return;
  if (paying() && !till.busy) asking = askShop().catch(() => null);
  askTopUp().catch(() => {});
}
setInterval(askAgain, 10_000);
window.addEventListener("online", () => {
  if ($("outcome").textContent === t("offline")) say("");
  askAgain();
});
window.addEventListener("offline", () => { if (!$("content").hidden && !paying()) say(t("offline"), true); });
window.addEventListener("beforeunload", (event) => {
  if (till.sale && ((paying() && unsaved()) || unsafeTopUp())) event.preventDefault();
});
otherWindow((place) => {
  if (isSale(place) && !(till.busy && paying())) takeOver();
  else if (till.me && !$("content").hidden) drawTopUp();
});

$("sell").addEventListener("click", step(["empty", "open", "done"], sell));
$("again").addEventListener("click", step(["unknown"], pay));
$("drop").addEventListener("click", step(["unknown"], drop));
$("clear").addEventListener("click", clear);
$("find").addEventListener("submit", loads(scan));
typed($("search"), () => showProducts());
$("category").addEventListener("change", () => showProducts());
$("card").addEventListener("input", () => {
  forgetHolder();
  drawChange();
  chosen();
});
$("no-card").addEventListener("click", () => {
  $("card").value = "";
  forgetHolder();
  drawChange();
  chosen();
  $("card").focus();
});
$("card").addEventListener("change", loads(checkCard));
$("pay-by").addEventListener("submit", loads(async () => {
  if (cardNumber()) await checkCard();
  $("sell").focus();
}));
$("given").addEventListener("input", drawChange);
$("people").addEventListener("submit", loads(() => findPeople($("person").value.trim())));
$("topup").addEventListener("submit", guard(topUp));
$("topup-again").addEventListener("click", guard(topUpAgain));
$("topup-drop").addEventListener("click", guard(dropTopUp));
$("print").addEventListener("click", () => window.print());
$("void").addEventListener("click", guard(async () => { await voidSale(); showProducts(); }));
$("recent").addEventListener("toggle", loads(() => showRecent()));

// F2, F4 and F9 work everywhere. Characters from a scanner go into the search field, unless
// another field has the focus.
document.addEventListener("keydown", (event) => {
  if ($("content").hidden || $("ask").open || event.ctrlKey || event.altKey || event.metaKey) return;
  const target = { F2: "search", F4: "card" }[event.key];
  if (target || event.key === "F9") {
    event.preventDefault();
    if (target) $(target).focus(); else $("sell").click();
  } else if (event.key.length === 1 && event.key !== " " && !/^(INPUT|SELECT)$/.test(document.activeElement?.tagName)) $("search").focus();
});

async function showCategories() {
  const found = await list("categories/");
  $("category").append(...found.results.map((c) => new Option(c.name, c.id)));
}

start({
  async enter(who) {
    till.me = who;
    load();
    clearCard();
    drawBasket();
    drawTopUp();
    if (till.sale.phase === "done") till.sale.phase = "empty";
    const unsure = paying();
    if (unsure) till.sale.unsure = true;
    enterPhase(unsure ? "unknown" : till.sale.phase);
    $("search").focus();
    showProducts();
    if ($("category").options.length < 2) showCategories().catch(() => {});
    if (unsure) {
      say(t("unknown"), true);
      const shop = askShop();
      asking = shop.catch(() => null);
      const end = await shop;
      if (till.busy || !paying()) return;
      say(t(end ? "notYet" : "unknownStill"), true);
      $($("again").hidden ? "drop" : "again").focus();
      return;
    }
    if (till.sale.card && !waitsForTopUp(till.sale.card)) takeCard(till.sale.card).catch(() => {});
    await askTopUp(true);
  },
  // leave forgets the customer. The basket is kept until this user returns.
  leave() {
    if (!till.sale) return;
    clearCard();
    clearReceipt();
    clearProducts();
  },
  // forget runs at a log-out. It keeps the sale only if its outcome is unknown.
  forget() {
    if (!till.sale || paying()) return;
    clear();
    clearReceipt();
  },
  busy: () => till.busy || till.toppingUp,
});
