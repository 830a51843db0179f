// The card in the field: its holder, the search for a forgotten card, and top-ups.
import { $, t, el, api, list, money, amount, say, newest, newKey, ask, Failure, Words, wordsOf } from "./core.js";
import { keep, kept, overtaken, unstored } from "./keep.js";
import { asked, cancelled, sent } from "./outcome.js";
import { till, cardNumber, drawChange, drawPhase, locked, save, begin, track } from "./sale.js";

// The line below the card shows the holder of the number in the field, or is empty.
export function forgetHolder(words = "") {
  till.holder = null;
  $("holder").textContent = words;
  $("holder").classList.remove("problem");
}

const find = async (number) => {
  if (!number) return null;
  try {
    const card = await api("GET", `cards/${encodeURIComponent(number)}/`);
    return card.number && Number.isInteger(card.balance) ? card : new Failure(0);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
};

const lookUp = newest(find, (found, number, still) => {
  if (!still() || number !== cardNumber()) return;
  forgetHolder();
  if (found instanceof Failure) {
    $("holder").textContent = found.status === 404 ? t("noCard") : t("cardFailed");
    $("holder").classList.add("problem");
  } else if (found) {
    till.holder = found;
    $("card").value = found.number;
    $("holder").textContent = t("holderIs", { child: found.child, balance: money(found.balance) });
  }
});

// checkCard shows the holder of the number in the field.
export function checkCard() {
  const number = cardNumber();
  forgetHolder(number && t("checking"));
  drawChange();
  return track(lookUp(number, begin()));
}

// refreshCard reads the balance of the displayed card again.
export const refreshCard = () => { if (till.holder) lookUp(cardNumber(), begin()).catch(() => {}); };

// chosen stores the card in the field as the one that is to pay.
export function chosen() {
  till.sale.card = cardNumber() || null;
  save();
}

// takeCard puts a scanned or found number into the field.
export async function takeCard(number) {
  $("card").value = number;
  chosen();
  await checkCard();
}

// isCard reports whether a scanned text is a card number. It throws if the shop cannot say.
export async function isCard(text) {
  const found = await find(text);
  if (found instanceof Failure && found.status !== 404) throw found;
  return !(found instanceof Failure);
}

export function clearCard() {
  $("card").value = $("given").value = $("person").value = $("amount").value = "";
  $("found").replaceChildren();
  $("forgot").open = $("money").open = false;
  forgetHolder();
  drawChange();
}

const people = newest(
  (text) => list("customers/?" + new URLSearchParams({ search: text })),
  (found, text, still) => {
    if (!still()) return;
    const children = found.results.flatMap((c) => c.children.map((child) => ({ ...child, parent: c.name })));
    const use = (child) => async () => {
      $("forgot").open = false;
      $("found").replaceChildren();
      $("card").focus();
      await takeCard(child.card.number);
    };
    $("found").replaceChildren(...(children.length
      ? children.map((child) => el("li", {}, el("button", { type: "button", onclick: use(child) }, `${child.name} (${child.parent})`)))
      : [el("li", {}, t("none"))]));
  });

export const findPeople = (text) => people(text, begin());

// A top-up is kept until its outcome is known: made, refused or cancelled. Meanwhile no other
// top-up begins.
const place = () => "pos.topup." + till.me.user;
const here = (where) => where === place() && !$("content").hidden;
const words = ({ card, value }) => ({ card, amount: money(value) });
export const unsafeTopUp = () => till.me && kept(place()) && unstored(place());

export function drawTopUp() {
  const one = till.toppingUp ? null : kept(place());
  $("topup-open").hidden = !one;
  $("topup").hidden = Boolean(one);
  $("topup-words").textContent = one ? t("topupUnknown", words(one)) : "";
}

// wanted reads the form. It throws a text for the user if an entry is wrong. seen reports whether
// the page showed the holder before.
async function wanted() {
  const value = amount($("amount").value), seen = till.holder?.number === cardNumber();
  if (value === null || value < 1) throw new Words(t("eAmount", { example: money(1250) }));
  if (!cardNumber()) { $("card").focus(); throw new Words(t("needCard")); }
  if (!seen) {
    await checkCard();
    if (!till.holder) throw new Words($("holder").textContent);
  }
  if (value > till.me.topup_limit) throw new Words(t("eTopLimit", { limit: money(till.me.topup_limit) }));
  return { card: till.holder.number, child: till.holder.child, value, seen };
}

export async function topUp() {
  const still = begin();
  if (locked() || kept(place())) { drawTopUp(); return; }
  const { card, child, value, seen } = await wanted();
  if ((!seen || value >= till.me.large_topup) && !(await ask(t("askTopup", { amount: money(value), child })))) return;
  if (locked() || kept(place()) || !still() || cardNumber() !== card) return;
  keep(place(), { card, child, value, key: newKey() });
  // The card ends with its top-up. If it was also to pay for the goods, Sell asks.
  if (!till.sale.items.length) { till.sale.card = null; save(); }
  const end = await send(false);
  if (!still()) return;
  if (end?.refused) chosen(); else clearCard();
}

// send sends the kept top-up. unsure means that an earlier request may still arrive.
const send = (unsure) => step((one, where) => {
  say(t("toppingUp"));
  return sent("topups/", { key: one.key, body: { card: one.card, amount: one.value }, unsure }, () => {
    if (here(where)) say(t("topupUnknown", words(one)), true);
  });
});

// topUpAgain sends the kept top-up again, and dropTopUp cancels it.
export const topUpAgain = () => send(true);
export const dropTopUp = () => step((one) => cancelled(one.key));

// waitsForTopUp reports whether a card belongs to the kept top-up.
export const waitsForTopUp = (card) => kept(place())?.card === card;

async function step(f) {
  const where = place(), one = kept(where);
  if (locked() || !one) return;
  till.toppingUp = true;
  drawPhase();
  drawTopUp();
  try {
    const end = await f(one, where);
    ended(where, one, end);
    return end;
  } finally {
    till.toppingUp = false;
    if (here(where)) { drawPhase(); drawTopUp(); }
  }
}

// ended shows an outcome: {made}, {refused}, {cancelled}, or another value while it is unknown.
function ended(where, one, end) {
  const known = end?.made || end?.refused || end?.cancelled;
  if (known && !overtaken(where, one)) keep(where, null);
  if (!here(where)) return; // the next log-in of the user shows it
  if (end?.refused) { say(wordsOf(end.refused), true); return; }
  if (end?.now) say(t("toppedUp", { amount: money(end.made.amount), child: one.child, balance: money(end.made.balance) }));
  else if (end?.made) say(t("topupWasMade", words(one)));
  else say(t(known ? "topupNotMade" : "topupUnknown", words(one)), true);
}

// askTopUp reads the outcome of a top-up that received no response. With aloud it also says that
// the outcome is unknown.
export async function askTopUp(aloud = false) {
  const where = place(), one = kept(where);
  if (!one || till.toppingUp) return;
  const end = await asked("topups/", one.key);
  if (till.toppingUp || kept(where)?.key !== one.key) return;
  if (end?.made) ended(where, one, end);
  else if (aloud && here(where)) say(t("topupUnknown", words(one)), true);
  if (here(where)) drawTopUp();
}
