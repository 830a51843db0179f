// The receipt on the screen and on paper, the latest sales, and the void of a sale.
import { $, t, el, api, list, money, count, say, newest, newKey, ask, clock, time, Failure } from "./core.js";
import { cancelled } from "./outcome.js";
import { till } from "./sale.js";

let receipt = null;

export function showReceipt(made, given = null) {
  receipt = made;
  const line = (...cells) => el("tr", {}, ...cells.map((c) => el("td", {}, c)));
  const notes = [made.card ? t("paidCard", { card: made.card }) : t("paidCash")];
  if (given !== null && given >= made.total) notes.push(t("givenLine", { amount: money(given) }), t("changeDue", { amount: money(given - made.total) }));
  if (made.voids) notes.push(t("voidOfSale", { id: made.voids }));
  if (made.voided_by) notes.push(t("voided"));
  if (made.reason) notes.push(made.reason);
  $("receipt-body").replaceChildren(
    el("p", {}, `${t("saleNo", { id: made.id })}, ${time(made.created_at)}, ${made.cashier}`),
    el("table", {}, el("tbody", {}, ...made.items.map((i) => line(`${count(i.quantity)} × ${i.name}`, money(i.price * i.quantity))), line(t("total"), money(made.total)))),
    ...notes.map((n) => el("p", {}, n)));
  $("void").hidden = !till.me.manager || Boolean(made.voided_by || made.voids);
  $("receipt").hidden = false;
}

export function clearReceipt() {
  receipt = null;
  $("receipt").hidden = true;
  $("receipt-body").replaceChildren();
  $("recents").replaceChildren();
  $("recent").open = false;
}

// voidSale asks for the reason. A second press or a lost response never voids a sale twice. After a
// lost response it cancels the key, so that a late request voids nothing.
export async function voidSale() {
  const sale = receipt;
  const reason = await ask(t("askVoid", { id: sale.id, total: money(sale.total) }), t("whyVoid"));
  if (!reason) return;
  const key = newKey();
  let now;
  try {
    await api("POST", `sales/${sale.id}/void/`, { reason }, { key });
  } catch (error) {
    if (!(error instanceof Failure) || !(error.unknown || error.status === 409)) throw error;
    if (!error.unknown || (await cancelled(key))) now = await api("GET", `sales/${sale.id}/`).catch(() => null);
    if (!now) { say(t("voidUnknown", { id: sale.id }), true); return; }
    if (!now.voided_by) { say(t("voidNotMade", { id: sale.id }), true); return; }
  }
  say(t("voidDone", { id: sale.id }));
  showRecent().catch(() => {});
  if (receipt?.id === sale.id) showReceipt(now || { ...sale, voided_by: -1 });
}

export const showRecent = newest(
  () => ($("recent").open ? list("sales/?cursor=&page_size=10") : null),
  (found) => $("recents").replaceChildren(...(found ? found.results : []).map((made) => el("li", {}, el("button", {
    type: "button", onclick: () => { showReceipt(made); $("receipt").scrollIntoView({ block: "nearest" }); },
  }, `${clock(made.created_at)}  ${t("saleNo", { id: made.id })}  ${money(made.total)}`)))));
