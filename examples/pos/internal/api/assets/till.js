// The till: selling, and the work of a cashier around a sale. The phases are in sale.js.
import { $, t, api, list, money, count, amount, say, guard, loads, typed, newKey, ask, sleep, session, start, Failure, Words } from "./core.js";
import { till, fresh, total, cardNumber, paying, locked, save, load, nextElsewhere, otherWindow, enterPhase, drawPhase, drawBasket, drawChange } from "./sale.js";
import { forgetHolder, checkCard, takeCard, refreshCard, clearCard, findPeople, topUp, askTopUp } from "./card.js";
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

async function sell() {
  if (locked()) return;
  if (!till.sale.items.length) throw new Words(t("emptyBasket"));
  const number = cardNumber();
  const given = number ? null : cash();
  if (!(await checked(number)) || locked() || number !== cardNumber()) return;
  const { sale } = till;
  sale.body = { items: sale.items.map((i) => ({ product: i.id, quantity: i.quantity })), total: total() };
  if (number) sale.body.card = number;
  sale.given = given;
  sale.key ??= newKey();
  await pay();
}

// pay sends the sale. It repeats the request with the same key while the outcome is unknown.
async function pay() {
  till.sending = true;
  try { await send(); } finally { till.sending = false; }
}

async function send() {
  const { sale, me } = till, mine = session.number;
  enterPhase("paying");
  say(t("selling"));
  const slow = setTimeout(() => say(t("slowSale")), 4000);
  for (let attempt = 0; attempt < 3; attempt++) {
    if (attempt) await sleep(1000 * 2 ** attempt);
    if (mine !== session.number) break;
    try {
      const made = await api("POST", "sales/", sale.body, { key: sale.key });
      if (!Number.isInteger(made.id) || !Number.isInteger(made.total)) throw new Failure(0);
      clearTimeout(slow);
      if (till.me.user === me.user) sold(sale, made);
      return;
    } catch (error) {
      clearTimeout(slow);
      if (!(error instanceof Failure)) throw error;
      if (till.me.user !== me.user) return; // the sale waits for its user
      // After a lost response, only a refusal of this same sale shows that it was not made.
      if (error.status === 422 && (await askShop())) return; // another body was sold with this key
      if (!error.unknown && (!sale.unsure || [400, 409, 422].includes(error.status))) { refused(sale, error); return; }
      if (!current(sale)) return;
      sale.unsure = till.sale.unsure = true;
      enterPhase("paying");
      if (mine !== session.number) break;
      say(t("unknown"), true);
      if (!error.unknown || (await askShop())) break;
    }
  }
  clearTimeout(slow);
  if (!current(sale)) return;
  enterPhase("unknown");
  if (mine !== session.number) return;
  say(t("unknownStill"), true);
  $("again").focus();
}

// takeOver shows the sale that another window has stored. A card in the field belongs to the
// sale before it.
function takeOver() {
  const { key, items } = till.sale;
  load();
  if (till.sale.key !== key || (items.length && !till.sale.items.length)) clearCard();
  if ($("content").hidden) return;
  drawBasket();
  drawPhase();
}

// current reports, after a response, whether the till still has the sale of the request. Another
// window may have found the outcome and begun the next sale.
function current(sale) {
  if (till.sale.key === sale.key && nextElsewhere()) { takeOver(); say(""); }
  return till.sale.key === sale.key;
}

// askShop reads by the key whether the sale was made: true, false, or null without a response.
async function askShop() {
  const { sale } = till, mine = session.number;
  const answer = await api("GET", "sales/?key=" + encodeURIComponent(sale.key), null, { patience: 5000 }).catch(() => null);
  if (!Array.isArray(answer?.results) || mine !== session.number || till.sale.key !== sale.key) return null;
  if (answer.results.length) { sold(sale, answer.results[0]); return true; }
  return current(sale) ? false : null;
}

// sold first shows that the sale is made. The rest only updates the page.
function sold(sale, made) {
  const here = current(sale);
  say(t("soldFor", { total: money(made.total), id: made.id }));
  if (!here) return;
  const { given } = till.sale;
  till.sale = fresh();
  clearCard();
  enterPhase("done");
  drawBasket();
  if ($("content").hidden) return; // the session has ended
  try { showReceipt(made, given); } catch (error) { console.error(error); }
  showProducts();
  $("search").focus();
}

function refused(sent, error) {
  if (!current(sent)) { say(error.words, true); return; }
  const d = error.data, { sale } = till;
  sale.key = null;
  sale.unsure = false;
  enterPhase("open");
  if (error.status === 401) return; // the page asks for the password
  const name = sale.items.find((i) => i.id === d.product)?.name || "";
  const words = {
    stock: () => t("eStock", { left: count(d.left), name }),
    inactive: () => t("eInactive", { name }),
    balance: () => t("eBalance", { balance: money(d.balance), total: money(d.total) }),
    price: () => t("ePrice", { total: money(d.total) }),
    used: () => t("eUsed"), // the key belongs to another basket, and nothing was sold
  }[error.status === 422 ? "used" : d.code];
  if (d.code === "price") for (const i of sale.items) i.price = d.prices[i.id] ?? i.price;
  if (d.code === "stock") setStock(d.product, d.left);
  say(words ? words() : error.words, true);
  save();
  drawBasket();
  showProducts();
  refreshCard();
}

// drop returns from an unknown sale to the basket, if the shop reports that it was not made.
async function drop() {
  const made = await askShop();
  if (!paying()) return;
  if (made === null) throw new Words(t("unknownStill"));
  enterPhase("open");
  say(t("notMade"));
  const { card } = till.sale.body;
  if (card && !cardNumber()) await takeCard(card);
}

function clear() {
  till.sale = fresh();
  clearCard();
  enterPhase("empty");
  say("");
  drawBasket();
  $("search").focus();
}

// While the outcome of a sale is unknown, the till asks again, and at once when the network
// returns.
const askAgain = () => { if (till.sale && paying() && !till.sending && !$("content").hidden) askShop(); };
setInterval(askAgain, 10_000);
window.addEventListener("online", askAgain);
window.addEventListener("offline", () => { if (!$("content").hidden && !paying()) say(t("offline"), true); });
otherWindow(takeOver);

$("sell").addEventListener("click", guard(sell));
$("again").addEventListener("click", guard(pay));
$("drop").addEventListener("click", guard(drop));
$("clear").addEventListener("click", clear);
$("find").addEventListener("submit", loads(scan));
typed($("search"), () => showProducts());
$("category").addEventListener("change", () => showProducts());
$("card").addEventListener("input", () => {
  forgetHolder();
  drawChange();
  till.sale.key = null;
  till.sale.unsure = false;
  save();
});
$("card").addEventListener("change", loads(checkCard));
$("pay-by").addEventListener("submit", loads(async () => {
  if (cardNumber()) await checkCard();
  $("sell").focus();
}));
$("given").addEventListener("input", drawChange);
$("people").addEventListener("submit", loads(() => findPeople($("person").value.trim())));
$("topup").addEventListener("submit", guard(topUp));
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
    if (till.sale.phase === "done") till.sale.phase = "empty";
    const asked = paying();
    enterPhase(asked ? "unknown" : till.sale.phase);
    $("search").focus();
    showProducts();
    if ($("category").options.length < 2) showCategories().catch(() => {});
    if (!asked) { await askTopUp(); return; }
    till.sale.unsure = true;
    save();
    say(t("unknown"), true);
    const made = await askShop();
    if (made || !paying()) return;
    say(t(made === false ? "notYet" : "unknownStill"), true);
    $("again").focus();
  },
  // leave removes customer data from the document. The basket is kept until this user returns.
  leave() {
    if (!till.sale) return;
    clearCard();
    clearReceipt();
    clearProducts();
    $("items").replaceChildren();
    $("search").value = $("scan-problem").textContent = "";
    say("");
  },
  // forget runs at a log-out. It keeps the sale only if its outcome is unknown.
  forget() {
    if (!till.sale || paying()) return;
    clear();
    clearReceipt();
  },
  busy: () => till.sending || till.toppingUp,
});
