// The card in the field: its holder, the search for a forgotten card, and top-ups.
import { $, t, el, api, list, money, amount, say, newest, newKey, ask, sleep, session, Failure, Words, wordsOf } from "./core.js";
import { keep, kept, overtaken } from "./keep.js";
import { till, cardNumber, drawChange, drawPhase, locked } from "./sale.js";

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

const lookUp = newest(find, (found, number) => {
  if (number !== cardNumber()) return;
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
export async function checkCard() {
  const number = cardNumber();
  forgetHolder(number && t("checking"));
  drawChange();
  await lookUp(number);
}

// refreshCard reads the balance of the displayed card again.
export const refreshCard = () => { if (till.holder) lookUp(cardNumber()).catch(() => {}); };

// takeCard puts a scanned or found number into the field.
export async function takeCard(number) {
  $("card").value = number;
  await checkCard();
}

// isCard reports whether a scanned text is a card number.
export const isCard = async (text) => !((await find(text)) instanceof Failure);

export function clearCard() {
  $("card").value = $("given").value = $("person").value = $("amount").value = "";
  $("found").replaceChildren();
  $("forgot").open = $("money").open = false;
  forgetHolder();
  drawChange();
}

export const findPeople = newest(
  (text) => list("customers/?" + new URLSearchParams({ search: text })),
  (found) => {
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

// A top-up is kept until its outcome is known. A retry with the same card and amount uses the
// same key, so it changes nothing twice.
const place = () => "pos.topup." + till.me.user;
const settle = (where, one) => { if (!overtaken(where, one.key)) keep(where, null); };

// wanted reads the form. It throws a text for the user if an entry is wrong.
async function wanted() {
  const value = amount($("amount").value);
  if (value === null || value < 1) throw new Words(t("eAmount", { example: money(1250) }));
  if (!cardNumber()) { $("card").focus(); throw new Words(t("needCard")); }
  if (till.holder?.number !== cardNumber()) {
    await checkCard();
    if (!till.holder) throw new Words($("holder").textContent);
  }
  if (value > till.me.topup_limit) throw new Words(t("eTopLimit", { limit: money(till.me.topup_limit) }));
  return { card: till.holder.number, child: till.holder.child, value };
}

export async function topUp() {
  if (locked()) return;
  const { card, child, value } = await wanted();
  if (value >= till.me.large_topup && !(await ask(t("askTopup", { amount: money(value), child })))) return;
  const where = place(), before = kept(where);
  const one = before?.card === card && before.value === value ? before : { card, value, key: newKey() };
  const left = () => where !== place() || $("content").hidden; // the next log-in of the user shows the outcome
  keep(where, one);
  till.toppingUp = true;
  drawPhase();
  say(t("toppingUp"));
  try {
    const made = await send(one, where);
    if (left()) return;
    settle(where, one);
    say(t("toppedUp", { amount: money(made.amount), child, balance: money(made.balance) }));
    $("amount").value = "";
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (!error.unknown && !one.unsure) settle(where, one);
    if (left()) return;
    say(error.unknown ? t("topupUnknown", { amount: money(value), card }) : wordsOf(error), true);
  } finally {
    till.toppingUp = false;
    drawPhase();
  }
  refreshCard();
}

async function send(one, where) {
  const mine = session.number;
  for (let attempt = 1; ; attempt++) {
    try {
      const made = await api("POST", "topups/", { card: one.card, amount: one.value }, { key: one.key });
      if (!Number.isInteger(made.balance)) throw new Failure(0);
      return made;
    } catch (error) {
      if (error.unknown) { one.unsure = true; if (!overtaken(where, one.key)) keep(where, one); }
      if (!error.unknown || attempt === 3 || mine !== session.number) throw error;
      say(t("topupUnknown", { amount: money(one.value), card: one.card }), true);
      await sleep(1000 * 2 ** (attempt - 1));
    }
  }
}

// askTopUp shows, after a log-in or a reload, the outcome of a top-up that received no response.
export async function askTopUp() {
  const where = place(), one = kept(where), mine = session.number;
  if (!one?.key) return;
  const words = { amount: money(one.value), card: one.card };
  const answer = await api("GET", "topups/?key=" + encodeURIComponent(one.key)).catch(() => null);
  if (mine !== session.number) return;
  if (answer?.results?.length) { settle(where, one); say(t("topupWasMade", words)); } else say(t(answer?.results ? "topupNotMade" : "topupUnknown", words), true);
}

