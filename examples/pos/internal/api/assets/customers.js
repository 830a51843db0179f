// Customers with their children and cards, and the top-ups of a card.
import { $, t, el, api, money, count, guard, pager, typed, ask, say, start, time } from "./core.js";

let me;
const show = pager(async (page) => {
  const list = await api("GET", "customers/?" + new URLSearchParams({ page, search: $("search").value.trim() }));
  return { ...list, show: () => draw(list) };
});

function draw(list) {
  $("count").textContent = t("people", { n: count(list.count) });
  $("list").replaceChildren(...list.results.flatMap((c) => c.children.map((child, i) => el("tr", {},
    el("td", {}, i ? "" : c.name), el("td", {}, child.name), el("td", {}, child.card.number), el("td", {}, money(child.card.balance)),
    el("td", {}, el("button", { type: "button", ariaLabel: t("historyOf", { card: child.card.number }), onclick: guard(() => history(child.card.number)) }, t("history")))))));
}

async function history(card) {
  const list = await api("GET", "topups/?" + new URLSearchParams({ card }));
  $("topups-title").textContent = t("historyOf", { card });
  $("topup-list").replaceChildren(...list.results.map((one) => el("tr", {},
    ...[time(one.created_at), money(one.amount), one.cashier, one.reason || ""].map((v) => el("td", {}, v)),
    el("td", {}, !me.manager || one.voids || one.voided_by ? (one.voided_by ? t("voided") : "")
      : el("button", { type: "button", onclick: guard(() => undo(one)) }, t("voidTopup"))))));
  $("topups").hidden = false;
  $("topups").scrollIntoView({ block: "nearest" });
}

async function undo(one) {
  const reason = prompt(t("whyVoid"));
  if (!reason?.trim() || !(await ask(t("askVoidTopup", { amount: money(one.amount) })))) return;
  await api("POST", `topups/${one.id}/void/`, { reason: reason.trim() });
  say(t("saved"));
  await Promise.all([history(one.card), show()]);
}

$("find").addEventListener("submit", guard(() => show()));
typed($("search"), guard(() => show()));
start({
  enter: (who) => { me = who; return show(); },
  leave: () => { $("list").replaceChildren(); $("topup-list").replaceChildren(); $("topups").hidden = true; $("search").value = ""; $("count").textContent = ""; },
});
