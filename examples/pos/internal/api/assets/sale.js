// The sale at this till. It is in one of these phases:
//
//   empty    the basket is empty
//   open     goods are in the basket, and can be changed
//   paying   the request is running, and nothing can be changed
//   unknown  no response came, and the till reads the outcome by the sale's key
//   done     sold, and the receipt is shown until the next sale begins
//
// Basket, key and phase survive a log-in and a reload. Two windows of one user show the same
// sale. A card and its holder belong to one sale.
import { $, t, el, money, count, amount, say, announce } from "./core.js";
import { keep, kept, overtaken } from "./keep.js";

// till is the state of this window: the user, the sale, the holder of the card in the field,
// and whether this window is sending the sale or a top-up.
export const till = { me: null, sale: null, holder: null, sending: false, toppingUp: false };

// fresh returns the next sale. Its key is made when the user presses Sell. unsure means that a
// request was sent and no response came.
export const fresh = () => ({ phase: "empty", items: [], key: null, body: null, unsure: false });
export const total = () => till.sale.items.reduce((sum, i) => sum + i.price * i.quantity, 0);
export const cardNumber = () => $("card").value.trim();
export const paying = () => till.sale.phase === "paying" || till.sale.phase === "unknown";
export const locked = () => paying() || till.toppingUp;

const place = () => "pos.till." + till.me.user;
export const save = () => keep(place(), till.sale);

// load reads the kept sale of this user, if it is valid.
export function load() {
  const sale = kept(place());
  const good = Array.isArray(sale?.items) && sale.items.every((i) => Number.isInteger(i.price) && Number.isInteger(i.quantity));
  till.sale = good ? { ...fresh(), ...sale } : fresh();
}

// nextElsewhere reports whether another window has stored another sale of this user.
export const nextElsewhere = () => overtaken(place(), till.sale.key);

// otherWindow calls f when another window has changed the sale of this user.
export function otherWindow(f) {
  window.addEventListener("storage", (event) => {
    if (till.me && event.key === place() && !till.sending) f();
  });
}

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
  $("again").hidden = $("drop").hidden = phase !== "unknown";
  for (const b of $("products").querySelectorAll("button")) b.disabled = locked() || b.dataset.stock === "0";
}

// add changes the basket. A changed basket is another sale, with another key.
export function add(product, quantity) {
  if (locked()) return;
  const { items } = till.sale;
  const i = items.findIndex((item) => item.id === product.id);
  if (i < 0) items.push({ id: product.id, name: product.name, price: product.price, quantity });
  else if ((items[i].quantity += quantity) < 1) items.splice(i, 1);
  till.sale.key = null;
  till.sale.unsure = false;
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

// drawChange shows, for a cash payment, the change or the missing amount.
export function drawChange() {
  const given = amount($("given").value), back = given === null ? null : given - total();
  $("change").textContent = back === null || cardNumber() || !till.sale.items.length ? ""
    : back < 0 ? t("tooLittleCash", { amount: money(-back) }) : t("changeDue", { amount: money(back) });
}
