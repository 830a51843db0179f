// Customers with their children and cards, and the top-ups of a card.
import { $, t, el, api, list, money, count, guard, loads, newest, newKey, pager, typed, ask, say, start, time, Failure } from "./core.js";
import { cancelled } from "./outcome.js";

let me;
const show = pager(async (page) => {
  const found = await list("customers/?" + new URLSearchParams({ page, search: $("search").value.trim() }));
  return { ...found, show: () => draw(found) };
});

function draw(found) {
  $("count").textContent = t("people", { n: count(found.count) });
  $("list").replaceChildren(...found.results.flatMap((c) => c.children.map((child, i) => el("tr", {},
    el("td", {}, i ? "" : c.name), el("td", {}, child.name), el("td", {}, child.card.number), el("td", {}, money(child.card.balance)),
    el("td", {}, el("button", { type: "button", ariaLabel: t("historyOf", { card: child.card.number }), onclick: loads(() => history(child.card.number)) }, t("history")))))));
}

const history = newest((card) => list("topups/?" + new URLSearchParams({ card })), (found, card) => {
  $("topups-title").textContent = t("historyOf", { card });
  $("topup-list").replaceChildren(...found.results.map((one) => el("tr", {},
    ...[time(one.created_at), money(one.amount), one.cashier, one.reason || ""].map((v) => el("td", {}, v)),
    el("td", {}, !me.manager || one.voids || one.voided_by ? (one.voided_by ? t("voided") : "")
      : el("button", { type: "button", onclick: guard(() => undo(one)) }, t("voidTopup"))))));
  $("topups").hidden = false;
  $("topups").scrollIntoView({ block: "nearest" });
});

async function undo(one) {
  const reason = await ask(t("askVoidTopup", { amount: money(one.amount) }), t("whyVoid"));
  if (!reason) return;
  const key = newKey();
  try {
    await api("POST", `topups/${one.id}/void/`, { reason }, { key });
    say(t("saved"));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const end = error.unknown ? await cancelled(key) : null; // so that a late request voids nothing
    if (end?.made) say(t("saved"));
    else say(error.words, true); // the list below shows the current state
  }
  await Promise.all([history(one.card), show()]);
}

$("find").addEventListener("submit", (event) => { event.preventDefault(); show(); });
typed($("search"), () => show());
start({
  enter: (who) => { me = who; return show(); },
  leave: () => { $("list").replaceChildren(); $("topup-list").replaceChildren(); $("topups").hidden = true; $("search").value = ""; $("count").textContent = ""; },
});
