// The sale at this till. It is in one of these phases:
//
//   empty    the basket is empty
//   open     goods are in the basket, and can be changed
//   paying   the request is running, and nothing can be changed
//   unknown  no response came, and the till reads the outcome by the sale's key
//   done     sold, and the receipt is shown until the next sale begins
//
// Basket, card, key and phase survive a log-in and a reload. Two windows of one user show the same
// sale. A card and its holder belong to one sale.
import { $, t, el, money, count, amount, say, announce, newKey } from "./core.js";
import { keep, kept, overtaken, salePlace, unstored } from "./keep.js";

// till is the state of this window: the user, the sale, the holder of the card in the field,
// whether a transition of the sale is running, and whether a top-up is being sent.
export const till = { me: null, sale: null, holder: null, busy: false, toppingUp: false };

// fresh returns the next sale, with its number. card is the one that is to pay, also while the field
// is empty. The key is made when the user presses Sell, and dropped when its outcome is known.
// unsure means that a request was sent and no response came.
export const fresh = () => ({ number: newKey(), phase: "empty", items: [], card: null, key: null, body: null, unsure: false });
export const total = () => till.sale.items.reduce((sum, i) => sum + i.price * i.quantity, 0);
export const cardNumber = () => $("card").value.trim();
export const paying = () => till.sale.phase === "paying" || till.sale.phase === "unknown";
export const locked = () => paying() || till.toppingUp;

const place = () => salePlace(till.me.user);
export function save() {
  const { number, phase, key, unsure } = till.sale;
  keep(place(), till.sale, { number, phase, key, unsure, items: [] });
}
export const unsaved = () => unstored(place());
export const isSale = (stored) => till.me && stored === place();

// load reads the kept sale of this user, if it is valid.
export function load() {
  const sale = kept(place());
  const good = Array.isArray(sale?.items) && sale.items.every((i) => Number.isInteger(i.price) && Number.isInteger(i.quantity));
  till.sale = good ? { ...fresh(), ...sale } : fresh();
  if (paying() && !till.sale.key) till.sale.phase = "open";
}

// nextElsewhere reports whether another window has stored another sale of this user.
export const nextElsewhere = () => overtaken(place(), till.sale);

// Scans, look-ups and searches belong to the sale at which they began. begin returns a function that
// reports whether the till still has that sale, and settled waits until none is running.
const running = new Set();
export function begin() {
  const { number } = till.sale, { user } = till.me;
  return () => till.sale.number === number && till.me.user === user && !$("content").hidden;
}
export function track(work) {
  running.add(work);
  const done = () => running.delete(work);
  work.then(done, done);
  return work;
}
export async function settled() { // reports whether all of them succeeded
  let good = true;
  while (running.size) for (const one of await Promise.allSettled([...running])) good &&= one.value !== false;
  return good;
}
export const waiting = () => running.size > 0;

// enterPhase changes the phase, stores it, and draws its effects.
export function enterPhase(phase) {
  till.sale.phase = phase;
  save();
  drawPhase();
}

export function drawPhase() {
  const { phase } = till.sale;
  $("entry").disabled = locked();
  $("bar").setAttribute("aria-busy", String(phase === "paying" || till.toppingUp));
  $("sell").disabled = locked();
  $("sell").hidden = phase === "unknown";
  $("drop").hidden = phase !== "unknown";
  $("again").hidden = phase !== "unknown" || !till.sale.body; // a full storage may have lost the basket
  for (const b of $("products").querySelectorAll("button")) b.disabled = locked() || b.dataset.stock === "0";
}

// add changes the basket, which has no key then.
export function add(product, quantity) {
  if (locked()) return;
  const { items } = till.sale;
  const i = items.findIndex((item) => item.id === product.id);
  if (i < 0) items.push({ id: product.id, name: product.name, price: product.price, quantity });
  else if ((items[i].quantity += quantity) < 1) items.splice(i, 1);
  $("receipt").hidden = true;
  enterPhase(items.length ? "open" : "empty");
  say("");
  drawBasket();
  announce(t(quantity > 0 ? "added" : "removed", { name: product.name, total: money(total()) }));
}

export function drawBasket() {
  const focused = document.activeElement?.dataset.focus;
  const { items } = till.sale;
  $("items").replaceChildren(...items.map((item) => {
    const change = (sign, by, words) => el("button", {
      type: "button", ariaLabel: t(words, { name: item.name }), "data-focus": `${item.id}${sign}`, onclick: () => add(item, by),
    }, sign);
    return el("tr", {}, el("td", {}, item.name),
      el("td", { className: "count" }, change("−", -1, "less"), el("span", {}, count(item.quantity)), change("+", 1, "moreOf")),
      el("td", {}, money(item.price * item.quantity)));
  }));
  if (focused) (document.querySelector(`[data-focus="${focused}"]`) || $("search")).focus();
  $("nothing").hidden = items.length > 0;
  $("clear").hidden = items.length === 0;
  $("basket").hidden = items.length === 0;
  $("total").textContent = money(total());
  $("in-basket").textContent = items.length ? t("goodsIn", { n: count(items.reduce((n, i) => n + i.quantity, 0)) }) : "";
  drawChange();
}

// drawChange shows, for a cash payment, the change or the missing amount. A card in the field can
// be removed.
export function drawChange() {
  $("no-card").hidden = !cardNumber();
  const given = amount($("given").value), back = given === null ? null : given - total();
  $("change").textContent = back === null || cardNumber() || !till.sale.items.length ? ""
    : back < 0 ? t("tooLittleCash", { amount: money(-back) }) : t("changeDue", { amount: money(back) });
}
